//! `flowgate simulate`: the simulated Entra ID and flows alone, until Ctrl-C.
//!
//! In: where to listen, flows to add, the names of environment variables that hold secrets. Out, on standard output: what is
//! simulated, this start's secrets and passwords as `export` lines, a configuration to paste, and `curl` lines that need no gateway; on
//! standard error, one line per request. Refuses to listen off loopback unless allowed to (security rule 25).

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use crate::telemetry::{self, Stream};
use simulator::directory::{
    API_APP, CALLER_APP, DEMO_TENANT, DEMO_USER, GATEWAY_APP, GATEWAY_OBJECT, PARTNER_APP,
    PARTNER_TENANT, SERVICE_USER,
};
use simulator::flow::FLOW_AUDIENCE;
use simulator::vault::SecretVersion;
use simulator::{Authority, Flow, FlowState, Mode, Options, Reply, Simulator};

/// Simulate Entra ID and flows, to test a caller or a configuration without a tenant.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowgate simulate
  flowgate simulate --listen 127.0.0.1:8070 --flow invoices=tenant --flow sap=anyone:accepted
  FLOWS_SECRET=a-secret-of-mine flowgate simulate --secret-env FLOWS_SECRET
  flowgate simulate --tls --ca-file simulator-ca.pem
While it runs, for example: curl -X PUT http://127.0.0.1:8070/-/token -d hang")]
pub struct Simulate {
    /// Address and port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8070")]
    listen: SocketAddr,
    /// Listen off loopback too: whoever reaches the port can make tokens that nothing real accepts
    #[arg(long)]
    allow_remote: bool,
    /// Scheme, host and port under which clients reach it, if not the address
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Add a flow, beside order-created, report and legacy. MODE: users, tenant or anyone; REPLY: echo (default), accepted, async, no-response, timeout, throttled, off, suspended or gone
    #[arg(long = "flow", value_name = "NAME=MODE[:REPLY]")]
    flows: Vec<AddedFlow>,
    /// Environment variable with the gateway's client secret; without it the secret is random
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// Put a secret into the simulated Key Vault: NAME is its name there, VARIABLE the environment variable with its value
    #[arg(long = "vault-secret", value_name = "NAME=VARIABLE")]
    vault_secrets: Vec<String>,
    /// Serve https under localhost and 127.0.0.1, with a certificate authority made for this start
    #[arg(long)]
    tls: bool,
    /// Write the certificate authority's certificate to this file
    #[arg(long, value_name = "PATH", requires = "tls")]
    ca_file: Option<PathBuf>,
}

/// `NAME=MODE[:REPLY]`.
#[derive(Clone)]
struct AddedFlow(Flow);

impl std::fmt::Debug for AddedFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AddedFlow").field(&self.0.name).finish()
    }
}

impl FromStr for AddedFlow {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').ok_or("expected NAME=MODE")?;
        let (mode, reply) = rest.split_once(':').unwrap_or((rest, "echo"));
        let named = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if name.is_empty() || !named {
            return Err("a flow's name has lower-case letters, digits and hyphens");
        }
        let mode = match mode {
            "users" => Mode::Users(vec![GATEWAY_OBJECT.into()]),
            "tenant" => Mode::Tenant,
            "anyone" => Mode::Anyone,
            _ => return Err("the mode is users, tenant or anyone"),
        };
        let mut flow = Flow::new(name, mode);
        match (Reply::named(reply), FlowState::named(reply)) {
            (Some(reply), _) => flow.response = reply,
            (_, Some(state)) => flow.state = state,
            (None, None) => {
                return Err(
                    "the reply is echo, accepted, async, no-response, timeout, throttled, off, suspended or gone",
                );
            }
        }
        Ok(Self(flow))
    }
}

/// Serves until Ctrl-C. Exit code 0 then, 2 when the arguments do not allow a start, 1 when the start fails.
pub async fn run(arguments: Simulate) -> ExitCode {
    // Whoever does not read what it says stops neither the simulator nor its end.
    let (requests, _last_requests) = Stream::start("requests", telemetry::unshared(io::stderr()));
    let (page, _last_page) = Stream::start("page", telemetry::unshared(io::stdout()));
    let environment = |name: &str| std::env::var(name).ok();
    let mut options = match options(&arguments, environment, requests) {
        Ok(options) => options,
        Err(problem) => return failed(problem, 2),
    };
    let vault = match vault_secrets(&arguments, environment) {
        Ok(vault) => vault,
        Err(problem) => return failed(problem, 2),
    };
    let authority = match arguments.tls.then(Authority::fresh).transpose() {
        Ok(authority) => authority,
        Err(error) => return failed(&format!("no certificate can be made: {error}"), 1),
    };
    if let Some(authority) = &authority {
        options.tls = Some(authority.server());
        if let Some(path) = &arguments.ca_file
            && let Err(error) = std::fs::write(path, authority.certificate())
        {
            return failed(&format!("{} cannot be written: {error}", path.display()), 1);
        }
    }
    let simulator = match Simulator::start(options).await {
        Ok(simulator) => simulator,
        Err(error) => {
            return failed(
                &format!("cannot listen on {}: {error}", arguments.listen),
                1,
            );
        }
    };
    // What a gateway would keep in a vault is in the simulated one.
    let secret = simulator.client_secret(GATEWAY_APP);
    simulator.put_secret("flows-secret", SecretVersion::new(&secret));
    for (name, value) in vault {
        simulator.put_secret(&name, SecretVersion::new(&value));
    }
    let remote = !simulator.address().ip().is_loopback();
    page.line(text(&simulator, remote, authority.as_ref()).as_bytes());
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot wait for Ctrl-C: {error}"), 1),
    }
}

fn failed(problem: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "flowgate simulate: {problem}");
    ExitCode::from(code)
}

fn options(
    arguments: &Simulate,
    environment: impl Fn(&str) -> Option<String>,
    requests: Stream,
) -> Result<Options, &'static str> {
    if !arguments.listen.ip().is_loopback() && !arguments.allow_remote {
        return Err(
            "this address is reachable from other machines; add --allow-remote if that is meant",
        );
    }
    let mut options = Options {
        listen: arguments.listen,
        origin: arguments
            .public_url
            .as_deref()
            .map(|url| url.trim_end_matches('/').to_owned()),
        keep: 0,
        log: Some(Arc::new(move |line| {
            requests.line(format!("{line}\n").as_bytes());
        })),
        ..Options::default()
    };
    for AddedFlow(flow) in &arguments.flows {
        options.flows.retain(|known| known.name != flow.name);
        options.flows.push(flow.clone());
    }
    if let Some(name) = &arguments.secret_env {
        let secret = environment(name)
            .filter(|secret| !secret.is_empty())
            .ok_or("the environment variable named by --secret-env is empty or missing")?;
        for app in options
            .tenants
            .iter_mut()
            .flat_map(|tenant| &mut tenant.apps)
        {
            if app.client_id == GATEWAY_APP {
                *app = app.clone().with_secret(&secret);
            }
        }
    }
    Ok(options)
}

/// The secrets for the simulated vault, by name.
fn vault_secrets(
    arguments: &Simulate,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, &'static str> {
    let secret = |pair: &String| {
        let (name, variable) = pair.split_once('=')?;
        let named = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let value = environment(variable).filter(|value| !value.is_empty())?;
        (named && !name.is_empty()).then(|| (name.to_owned(), value))
    };
    let secrets = arguments
        .vault_secrets
        .iter()
        .map(secret)
        .collect::<Option<_>>();
    secrets.ok_or(
        "--vault-secret takes a name of letters, digits and hyphens, =, and a variable that is set",
    )
}

/// Everything printed at start.
fn text(simulator: &Simulator, remote: bool, authority: Option<&Authority>) -> String {
    let mut text = simulator.page();
    if let Some(authority) = authority {
        let _ = write!(
            text,
            "\n# 0. The certificate authority of this start. Callers and the gateway (`outbound: {{ ca: simulator-ca.pem }}`) need it.\n\n\
             cat > simulator-ca.pem <<'PEM'\n{}PEM\n",
            authority.certificate()
        );
    }
    let _ = write!(
        text,
        "\n# 1. Addresses and secrets of this start. Paste into the shells you use below.\n\n{}",
        exports(simulator)
    );
    if remote {
        text.push_str(
            "\n# A gateway refuses a simulator that is not on its own loopback interface, so no configuration is shown.\n",
        );
    } else {
        let _ = write!(
            text,
            "\n# 2. A configuration: save as flowgate.yaml, then: flowgate serve --config flowgate.yaml\n\n{}\n\
             # and through that gateway:\n\
             curl -i -H \"X-Api-Key: $ERP_KEY\" -H 'Content-Type: application/json' -d '{{\"order\":7}}' http://127.0.0.1:8080/order-created\n",
            configuration(simulator)
        );
    }
    let _ = write!(
        text,
        "\n# 3. Without a gateway: what a caller would have to do itself.\n\n{}\n# Ctrl-C ends it. Requests are listed on standard error.\n",
        by_hand(simulator)
    );
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Name of the variable for a flow's URL.
fn variable(flow: &str) -> String {
    format!("{}_URL", flow.to_ascii_uppercase().replace('-', "_"))
}

fn exports(simulator: &Simulator) -> String {
    let mut lines = format!("export ENTRA_AUTHORITY={}\n", quoted(&simulator.origin()));
    for (name, app) in [
        ("FLOWS_SECRET", GATEWAY_APP),
        ("CALLER_SECRET", CALLER_APP),
        ("PARTNER_SECRET", PARTNER_APP),
        ("EXCHANGE_SECRET", API_APP),
    ] {
        let secret = quoted(&simulator.client_secret(app));
        let _ = writeln!(lines, "export {name}={secret}");
    }
    for (name, user) in [
        ("USER_PASSWORD", DEMO_USER),
        ("SERVICE_PASSWORD", SERVICE_USER),
    ] {
        let password = quoted(&simulator.password(DEMO_TENANT, user));
        let _ = writeln!(lines, "export {name}={password}");
    }
    let header = quoted(&simulator.identity_header());
    let _ = writeln!(
        lines,
        "export IDENTITY_ENDPOINT={}\nexport IDENTITY_HEADER={header}",
        quoted(&simulator.app_service_url())
    );
    let key = simulator.sample_key();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let _ = writeln!(lines, "export ERP_KEY={}", quoted(&key));
    let _ = writeln!(
        lines,
        "export ERP_KEY_SHA256={}",
        settings::values::hex(digest.as_ref())
    );
    for flow in simulator.flows() {
        let url = quoted(&simulator.flow_url(&flow.name));
        let _ = writeln!(lines, "export {}={url}", variable(&flow.name));
    }
    lines
}

/// A flowgate configuration for all the simulated flows.
fn configuration(simulator: &Simulator) -> String {
    let authority = simulator.origin();
    let outbound = if authority.starts_with("https:") {
        "outbound: { ca: simulator-ca.pem }\n\n"
    } else {
        ""
    };
    let mut yaml = format!(
        "\
{outbound}defaults:
  entra: {{ tenant: {DEMO_TENANT}, authority: \"{authority}\" }}

callers:
  erp:
    api_key: {{ sha256: {{ env: ERP_KEY_SHA256 }} }}
  app:
    entra: {{ audience: [\"{API_APP}\", \"api://{API_APP}\"], client_ids: [{CALLER_APP}] }}
  partner:
    entra: {{ tenant: {PARTNER_TENANT}, audience: [\"{API_APP}\", \"api://{API_APP}\"], client_ids: [{PARTNER_APP}] }}

credentials:
  flows:
    client_secret: {{ client_id: {GATEWAY_APP}, secret: {{ env: FLOWS_SECRET }} }}

flows:
"
    );
    for flow in simulator.flows() {
        let name = &flow.name;
        let _ = match &flow.mode {
            Mode::Anyone => write!(
                yaml,
                "  {name}:\n    url: {{ env: {} }}\n    who_can_trigger: [erp, app, partner]\n",
                variable(name)
            ),
            Mode::Tenant | Mode::Users(_) => write!(
                yaml,
                "  {name}:\n    url: \"{}\"\n    who_can_trigger: [erp, app, partner]\n    credential: flows\n    trigger: {}\n",
                simulator.flow_url(name),
                trigger(&flow)
            ),
        };
    }
    yaml
}

fn trigger(flow: &Flow) -> String {
    match &flow.mode {
        Mode::Users(users) => format!(
            "{{ mode: users, tenant: {}, object_ids: [{}] }}",
            flow.tenant,
            users.join(", ")
        ),
        Mode::Tenant | Mode::Anyone => format!("{{ mode: tenant, tenant: {} }}", flow.tenant),
    }
}

/// The steps a caller is spared by the gateway, as `curl` lines.
fn by_hand(simulator: &Simulator) -> String {
    let grant = |tenant: &str, client: &str, secret: &str, scope: &str| {
        format!(
            "curl -s -d grant_type=client_credentials -d client_id={client} --data-urlencode \"client_secret=${secret}\" \
             --data-urlencode 'scope={scope}' {} | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/'",
            simulator.token_url(tenant, true)
        )
    };
    let api = format!("api://{API_APP}/.default");
    format!(
        "# the gateway's own token for the flow service (mind the double slash), and a flow triggered with it\n\
         TOKEN=$({})\n\
         curl -i -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{{\"order\":7}}' {}\n\
         # the calling application's, and the partner's, token for a gateway\n\
         CALLER_TOKEN=$({})\n\
         PARTNER_TOKEN=$({})\n",
        grant(
            DEMO_TENANT,
            GATEWAY_APP,
            "FLOWS_SECRET",
            &format!("{FLOW_AUDIENCE}/.default")
        ),
        quoted(&simulator.flow_url("order-created")),
        grant(DEMO_TENANT, CALLER_APP, "CALLER_SECRET", &api),
        grant(PARTNER_TENANT, PARTNER_APP, "PARTNER_SECRET", &api),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        simulate: Simulate,
    }

    fn parsed(arguments: &[&str]) -> Result<Options, String> {
        let line = [&["simulate"], arguments].concat();
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        let (requests, _flush) = Stream::start("requests", io::sink());
        let variable = |name: &str| (name == "SET").then(|| "it's set".to_owned());
        options(&line.simulate, variable, requests).map_err(ToOwned::to_owned)
    }

    #[test]
    fn an_address_off_loopback_needs_to_be_allowed() {
        for address in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1"] {
            assert!(parsed(&["--listen", address]).is_err());
            assert!(parsed(&["--listen", address, "--allow-remote"]).is_ok());
        }
        assert!(parsed(&["--listen", "[::1]:1"]).is_ok());
        assert!(parsed(&[]).is_ok_and(|options| options.listen.ip().is_loopback()));
    }

    #[test]
    fn flows_are_added_by_name_mode_and_reply() {
        let options = parsed(&["--flow", "sap=anyone:accepted", "--flow", "report=users"]).unwrap();
        let flow = |name: &str| options.flows.iter().find(|flow| flow.name == name).unwrap();
        assert_eq!(flow("sap").mode, Mode::Anyone);
        assert!(matches!(flow("sap").response, Reply::Accepted));
        assert_eq!(
            flow("report").mode,
            Mode::Users(vec![GATEWAY_OBJECT.into()])
        );
        assert_eq!(options.flows.len(), 4);
        for wrong in [
            "sap",
            "=anyone",
            "Sap=anyone",
            "sap=everyone",
            "sap=anyone:never",
        ] {
            assert!(parsed(&["--flow", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_named_secret_is_the_gateway_s_and_a_missing_one_stops_the_start() {
        let options = parsed(&["--secret-env", "SET"]).unwrap();
        let app = options.tenants[0].app(GATEWAY_APP).unwrap();
        assert_eq!(app.secrets[0].value, "it's set");
        assert!(parsed(&["--secret-env", "UNSET"]).is_err());
    }

    #[tokio::test]
    async fn what_is_printed_names_every_flow_and_holds_each_secret_once() {
        let mut options = parsed(&["--flow", "sap-in=anyone", "--secret-env", "SET"]).unwrap();
        options.listen.set_port(0);
        options.log = None;
        let simulator = Simulator::start(options).await.unwrap();
        let printed = text(&simulator, false, None);
        assert!(printed.contains("export FLOWS_SECRET='it'\\''s set'\n"));
        assert!(printed.contains("url: { env: SAP_IN_URL }"));
        for flow in ["sap-in", "legacy"] {
            let sig = simulator.flow(flow).unwrap().sig;
            assert_eq!(printed.matches(&sig).count(), 1, "{flow}");
        }
        assert!(!text(&simulator, true, None).contains("credentials:"));
        for secret in [
            simulator.password(DEMO_TENANT, DEMO_USER),
            simulator.password(DEMO_TENANT, SERVICE_USER),
            simulator.identity_header(),
        ] {
            assert_eq!(printed.matches(&secret).count(), 1);
            assert!(!simulator.page().contains(&secret));
        }
        for path in [
            "/secrets/",
            "/v1.0/planner/tasks",
            "/devicelogin",
            "/metadata/identity",
        ] {
            assert!(printed.contains(path), "{path}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_printed_curl_lines_obtain_tokens_and_trigger_a_flow() {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let script = format!(
            "set -e\n{}{}echo\necho \"$CALLER_TOKEN\" \"$PARTNER_TOKEN\"\n",
            exports(&simulator),
            by_hand(&simulator)
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.starts_with("HTTP/1.1 200 OK"), "{printed}");
        assert_eq!(simulator.runs("order-created"), 1);
        let statuses: Vec<_> = simulator
            .token_requests()
            .iter()
            .map(|request| request.status)
            .collect();
        assert_eq!(statuses, [Some(200); 3]);
        let tokens = printed.lines().last().unwrap();
        assert_eq!(
            tokens
                .split(' ')
                .filter(|token| token.starts_with("ey"))
                .count(),
            2
        );
    }
}
