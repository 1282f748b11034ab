//! The configuration that `init` writes, and the secrets beside it.
//!
//! In: the plan. Out: YAML with a comment wherever somebody has to do something, and the files with secrets that the YAML names. A signed
//! URL and an API key are never in the YAML; the client secret comes later, from the command that makes it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::target::Kind;
use super::{Plan, Proof, Who, quote};
use crate::clock::Random;
use crate::clouds;
use crate::clouds::Cloud;
use settings::values::hex;

/// The variable that represents the application's id until it is registered.
pub const CLIENT_ID: &str = "FLOWGATE_CLIENT_ID";
/// Where the client secret is.
pub const SECRET: &str = "secrets/flows.secret";
/// Where certificate and key are.
pub const CERTIFICATE: &str = "secrets/flows.pem";

/// What is written.
pub struct Written {
    /// The configuration.
    pub yaml: String,
    /// Names, relative to the configuration, and texts of secrets.
    pub secrets: Vec<(String, String)>,
    /// Whether secrets have or get a folder.
    pub folder: bool,
    /// The file with the caller's new key.
    pub key: Option<String>,
}

/// Writes it all, into memory.
#[must_use]
pub fn write(plan: &Plan, random: &Random) -> Written {
    let mut secrets = Vec::new();
    let mut yaml = String::from(
        "# Written by flowgate init. `flowgate check` validates it, `flowgate schema` lists every key for editors.\n",
    );
    defaults(&mut yaml, plan);
    let key = callers(&mut yaml, plan, random, &mut secrets);
    credentials(&mut yaml, plan);
    flows(&mut yaml, plan, &mut secrets);
    Written {
        yaml,
        folder: !secrets.is_empty() || plan.has_secret(),
        secrets,
        key,
    }
}

fn defaults(yaml: &mut String, plan: &Plan) {
    let target = &plan.target;
    let named = target.cloud != Cloud::Public && !target.simulated;
    if plan.tenant.is_none() && target.authority.is_none() && !named {
        return;
    }
    yaml.push_str("\ndefaults:\n  entra:\n");
    if let Some(tenant) = &plan.tenant {
        let _ = writeln!(yaml, "    tenant: {tenant}   # Directory (tenant) ID");
    }
    if named {
        let _ = writeln!(yaml, "    cloud: {}", clouds::name(target.cloud));
    }
    if let Some(authority) = &target.authority {
        let _ = writeln!(
            yaml,
            "    authority: {}   # the simulator, in place of Entra ID",
            quote::yaml(authority)
        );
    }
}

/// The application's id, or the variable that represents it.
fn client_id(plan: &Plan) -> String {
    plan.client_id
        .clone()
        .unwrap_or_else(|| format!("\"${{{CLIENT_ID}}}\""))
}

fn callers(
    yaml: &mut String,
    plan: &Plan,
    random: &Random,
    secrets: &mut Vec<(String, String)>,
) -> Option<String> {
    let name = plan.caller.as_str();
    match plan.who {
        Who::Anyone => None,
        Who::Key => {
            let key = URL_SAFE_NO_PAD.encode(random.bytes::<32>());
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
            let file = format!("secrets/{name}.key");
            let _ = write!(
                yaml,
                "\ncallers:\n  {name}:\n    # The key itself is in {file}: give it to the caller, which sends it as X-Api-Key, and delete the file.\n    api_key: {{ sha256: {} }}\n",
                hex(digest.as_ref())
            );
            secrets.push((file.clone(), key));
            Some(file)
        }
        Who::Users | Who::Application => {
            let id = if plan.target.simulated {
                simulator::directory::API_APP.to_owned()
            } else {
                plan.client_id
                    .clone()
                    .unwrap_or_else(|| format!("${{{CLIENT_ID}}}"))
            };
            let _ = write!(
                yaml,
                "\ncallers:\n  {name}:\n    entra:\n      # The application that represents this gateway: v1 tokens carry the URI, v2 tokens the id.\n      audience: [\"api://{id}\", \"{id}\"]\n"
            );
            match &plan.caller_client_id {
                Some(client) => {
                    let _ = writeln!(
                        yaml,
                        "      client_ids: [{client}]   # the calling application, with its own tokens"
                    );
                }
                None => yaml.push_str(
                    "      # Every user of the tenant; narrow it with object_ids, groups or roles.\n",
                ),
            }
            None
        }
    }
}

fn credentials(yaml: &mut String, plan: &Plan) {
    let id = client_id(plan);
    match plan.proof {
        Proof::None => {}
        Proof::ClientSecret => {
            let _ = write!(
                yaml,
                "\ncredentials:\n  flows:\n    client_secret:\n      client_id: {id}   # Application (client) ID\n      secret: {{ file: {SECRET} }}   # its Value; the printed commands write it\n      # expires: 2027-01-31   # for warnings before it does\n"
            );
        }
        Proof::ClientCertificate => {
            let _ = write!(
                yaml,
                "\ncredentials:\n  flows:\n    client_certificate:\n      client_id: {id}   # Application (client) ID\n      certificate: {{ file: {CERTIFICATE} }}   # certificate and private key; the printed commands write it\n"
            );
        }
        Proof::WorkloadIdentity => {
            let _ = write!(
                yaml,
                "\ncredentials:\n  flows:\n    # AZURE_FEDERATED_TOKEN_FILE names the token, which Azure Workload Identity sets; elsewhere add token_file: …\n    workload_identity: {{ client_id: {id} }}   # Application (client) ID\n"
            );
        }
        Proof::ManagedIdentity => {
            yaml.push_str(
                "\ncredentials:\n  flows:\n    # The machine's own; a user-assigned identity: managed_identity: { client_id: … }\n    managed_identity: {}\n",
            );
        }
    }
}

fn flows(yaml: &mut String, plan: &Plan, secrets: &mut Vec<(String, String)>) {
    let (flow, target) = (plan.flow.as_str(), &plan.target);
    let _ = write!(yaml, "\nflows:\n  {flow}:   # callers use /{flow}\n");
    if target.signed {
        let file = format!("secrets/{flow}.url");
        let _ = writeln!(
            yaml,
            "    url: {{ file: {file} }}   # signed: whoever has it can start the flow"
        );
        secrets.push((file, target.url.clone()));
    } else {
        let _ = writeln!(yaml, "    url: {}", quote::yaml(&target.url));
    }
    let who = match plan.who {
        Who::Anyone => "anyone".to_owned(),
        _ => format!("[{}]", plan.caller.as_str()),
    };
    let _ = writeln!(yaml, "    who_can_trigger: {who}");
    if plan.proof != Proof::None {
        yaml.push_str("    credential: flows\n");
    }
    match target.kind {
        Kind::Flow => {}
        Kind::LogicApp => yaml.push_str("    kind: logic_app\n"),
        Kind::Graph => {
            if target.simulated {
                let (key, value) = match plan.proof {
                    Proof::ManagedIdentity => ("resource", "https://graph.microsoft.com"),
                    _ => ("scope", "https://graph.microsoft.com/.default"),
                };
                let _ = writeln!(yaml, "    {key}: {value}");
            }
            yaml.push_str("    kind: other\n    subpaths: true   # /…/x goes to the URL with /x\n");
        }
    }
    let usual = if target.kind == Kind::Graph {
        "GET"
    } else {
        "POST"
    };
    let method = target.method.unwrap_or(usual);
    let _ = writeln!(yaml, "    methods: [{method}]");
    if target.kind == Kind::Flow && plan.proof != Proof::None {
        yaml.push_str(
            "    # What the trigger says, so that `check` and `doctor` can compare:\n    # trigger: { mode: users, object_ids: [<the enterprise application's Object ID>] }\n",
        );
    }
}
