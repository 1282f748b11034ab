//! What is still to do after `init`: commands, and what to enter in the flow designer.
//!
//! In: the plan. Out: text for standard output: comments and lines to paste. Every text that a user chose is quoted for the shell it is
//! meant for; secrets go from the command that makes them into their file and are never shown.

use std::fmt::Write as _;
use std::path::Path;

use super::configuration::{CERTIFICATE, CLIENT_ID, SECRET, Written};
use super::quote::for_shell;
use super::target::Kind;
use super::{Language, Plan, Proof, Who, files};
use crate::clouds::Cloud;

/// Everything that is still to do.
#[must_use]
pub fn text(plan: &Plan, written: &Written) -> String {
    let mut text = String::new();
    let mut step = 0;
    let mut heading = |text: &mut String, what: &str| {
        step += 1;
        let _ = write!(text, "\n# {step}. {what}\n\n");
    };
    let _ = writeln!(text, "# Written: {}", plan.output.display());
    for (name, _) in &written.secrets {
        let path = files::beside(&plan.output, name);
        let _ = writeln!(
            text,
            "# Written: {} (readable by you alone)",
            path.display()
        );
    }
    if plan.target.simulated {
        if plan.has_secret() {
            heading(
                &mut text,
                "The simulator's application: its secret is among the variables that `flowgate simulate` printed.",
            );
            simulated(&mut text, plan);
        }
    } else if plan.registers() {
        heading(&mut text, registration(plan));
        match plan.shell {
            Language::Terraform => terraform(&mut text, plan),
            shell => commands(&mut text, plan, shell),
        }
    } else if plan.has_secret() {
        heading(&mut text, "The application's secret");
        let _ = writeln!(
            text,
            "# Put it into {}, readable by you alone.",
            secret_path(plan).display()
        );
    }
    if plan.proof == Proof::WorkloadIdentity && !plan.target.simulated {
        heading(
            &mut text,
            "Let the application trust the platform's tokens. Issuer and subject are those of a service account in AKS; replace them for another platform.",
        );
        federation(&mut text, plan);
    }
    if plan.proof == Proof::ManagedIdentity && !plan.target.simulated {
        heading(&mut text, "The identity's object id, for the flow");
        managed_identity(&mut text, plan.shell);
    }
    if plan.proof != Proof::None && !plan.target.simulated {
        heading(&mut text, "In the designer");
        text.push_str(designer(plan.target.kind));
    }
    heading(&mut text, "Check, and serve");
    let path = for_shell(&plan.output.display().to_string(), last(plan.shell));
    let _ = writeln!(
        text,
        "flowgate check --config {path} --secrets\nflowgate serve --config {path}"
    );
    if plan.who == Who::Key
        && let Some(key) = &written.key
    {
        call(&mut text, plan, key);
    }
    text
}

/// Commands of ours are the same everywhere; Terraform is no shell.
fn last(shell: Language) -> Language {
    match shell {
        Language::PowerShell => Language::PowerShell,
        Language::Posix | Language::Terraform => Language::Posix,
    }
}

fn registration(plan: &Plan) -> &'static str {
    match plan.shell {
        Language::Terraform => {
            "Register the application: add this to a Terraform configuration with the azuread provider, and apply it."
        }
        Language::Posix | Language::PowerShell => {
            "Register the application (Azure CLI, as somebody who may register applications)."
        }
    }
}

fn secret_path(plan: &Plan) -> std::path::PathBuf {
    let name = match plan.proof {
        Proof::ClientCertificate => CERTIFICATE,
        _ => SECRET,
    };
    files::beside(&plan.output, name)
}

fn simulated(text: &mut String, plan: &Plan) {
    let path = |path: &Path| for_shell(&path.display().to_string(), Language::Posix);
    match plan.proof {
        Proof::ClientSecret => {
            let _ = writeln!(
                text,
                "(umask 077; printf %s \"$FLOWS_SECRET\" > {})",
                path(&secret_path(plan))
            );
        }
        _ => text.push_str(
            "# docs/how-to/try-it-with-the-simulator.md shows how to give it a certificate.\n",
        ),
    }
}

/// The Azure CLI's commands, in one of two shells.
fn commands(text: &mut String, plan: &Plan, shell: Language) {
    let quoted = |text: &str| for_shell(text, shell);
    let set = |name: &str, command: &str| match shell {
        Language::PowerShell => format!("${name} = {command}\n"),
        _ => format!("{name}=$({command})\n"),
    };
    if let Some(cloud) = azure_cloud(plan.target.cloud) {
        let _ = writeln!(text, "az cloud set --name {cloud}");
    }
    if let Some(tenant) = &plan.tenant {
        let _ = writeln!(
            text,
            "az login --tenant {} --allow-no-subscriptions",
            quoted(tenant)
        );
    }
    text.push_str(&set(
        "APP_ID",
        &format!(
            "az ad app create --display-name {} --sign-in-audience AzureADMyOrg --query appId --output tsv",
            quoted(&plan.app_name)
        ),
    ));
    text.push_str(&set(
        "ENTERPRISE_OBJECT_ID",
        "az ad sp create --id \"$APP_ID\" --query id --output tsv",
    ));
    if matches!(plan.who, Who::Users | Who::Application) {
        let _ = writeln!(
            text,
            "az ad app update --id \"$APP_ID\" --identifier-uris \"api://$APP_ID\""
        );
    }
    let path = quoted(&secret_path(plan).display().to_string());
    let reset =
        "az ad app credential reset --id \"$APP_ID\" --append --display-name flowgate --years 1";
    match (plan.proof, shell) {
        (Proof::ClientSecret, Language::PowerShell) => {
            // `>` of Windows PowerShell writes UTF-16, and .NET has a working folder of its own.
            let _ = writeln!(
                text,
                "$SECRET = {reset} --query password --output tsv\n[IO.File]::WriteAllText($ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath({path}), $SECRET)\nRemove-Variable SECRET"
            );
        }
        (Proof::ClientSecret, _) => {
            let _ = writeln!(
                text,
                "(umask 077; {reset} --query password --output tsv > {path})"
            );
        }
        (Proof::ClientCertificate, Language::PowerShell) => {
            let _ = writeln!(
                text,
                "$PEM = {reset} --create-cert --query fileWithCertAndPrivateKey --output tsv\nMove-Item -LiteralPath $PEM -Destination {path}"
            );
        }
        (Proof::ClientCertificate, _) => {
            let _ = writeln!(
                text,
                "(umask 077; mv \"$({reset} --create-cert --query fileWithCertAndPrivateKey --output tsv)\" {path})"
            );
        }
        (Proof::ManagedIdentity | Proof::WorkloadIdentity | Proof::None, _) => {}
    }
    let export = match shell {
        Language::PowerShell => format!("$env:{CLIENT_ID} = $APP_ID\n"),
        _ => format!("export {CLIENT_ID}=\"$APP_ID\"\n"),
    };
    let _ = write!(
        text,
        "# Write this id into the configuration in place of ${{{CLIENT_ID}}}, or set the variable wherever the gateway runs:\n{export}"
    );
    let _ = writeln!(
        text,
        "echo \"Application (client) ID: $APP_ID; Object ID of the enterprise application: $ENTERPRISE_OBJECT_ID\""
    );
}

fn azure_cloud(cloud: Cloud) -> Option<&'static str> {
    match cloud {
        Cloud::Public | Cloud::Gcc => None,
        Cloud::GccHigh | Cloud::Dod => Some("AzureUSGovernment"),
        Cloud::China => Some("AzureChinaCloud"),
    }
}

/// What the tokens that prove a workload are for (facts B1.5).
fn exchange_audience(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public | Cloud::Gcc => "api://AzureADTokenExchange",
        Cloud::GccHigh | Cloud::Dod => "api://AzureADTokenExchangeUSGov",
        Cloud::China => "api://AzureADTokenExchangeChina",
    }
}

/// The federated credential of the application.
fn federation(text: &mut String, plan: &Plan) {
    const ISSUER: &str = "az aks show --name \"$CLUSTER\" --resource-group \"$GROUP\" --query oidcIssuerProfile.issuerUrl --output tsv";
    const SUBJECT: &str = "system:serviceaccount:default:flowgate";
    const CREATE: &str =
        "az ad app federated-credential create --id \"$APP_ID\" --parameters federated.json";
    let audience = exchange_audience(plan.target.cloud);
    let known = plan.client_id.as_deref();
    match plan.shell {
        Language::Posix => {
            if let Some(id) = known {
                let _ = writeln!(text, "APP_ID='{id}'");
            }
            let _ = write!(
                text,
                "CLUSTER='name'\nGROUP='resource group'\nISSUER=$({ISSUER})\nSUBJECT='{SUBJECT}'\n\
                 printf '{{\"name\":\"flowgate\",\"issuer\":\"%s\",\"subject\":\"%s\",\"audiences\":[\"{audience}\"]}}' \"$ISSUER\" \"$SUBJECT\" > federated.json\n{CREATE}\n"
            );
        }
        Language::PowerShell => {
            if let Some(id) = known {
                let _ = writeln!(text, "$APP_ID = '{id}'");
            }
            // A file: how PowerShell hands quotes on to programs depends on its version.
            let _ = write!(
                text,
                "$CLUSTER = 'name'\n$GROUP = 'resource group'\n$ISSUER = {ISSUER}\n$SUBJECT = '{SUBJECT}'\n\
                 @{{ name = 'flowgate'; issuer = $ISSUER; subject = $SUBJECT; audiences = @('{audience}') }} | ConvertTo-Json | Set-Content -Encoding ascii federated.json\n{CREATE}\n"
            );
        }
        Language::Terraform => {
            let application = known.map_or_else(
                || "azuread_application_registration.flowgate.id".to_owned(),
                |_| "data.azuread_application.flowgate.id".to_owned(),
            );
            if let Some(id) = known {
                let _ = write!(
                    text,
                    "data \"azuread_application\" \"flowgate\" {{\n  client_id = \"{id}\"\n}}\n\n"
                );
            }
            let _ = write!(
                text,
                "variable \"cluster_issuer\" {{\n  description = \"The cluster's OIDC issuer\"\n  type        = string\n}}\n\n\
                 resource \"azuread_application_federated_identity_credential\" \"flowgate\" {{\n  application_id = {application}\n  display_name   = \"flowgate\"\n  audiences      = [\"{audience}\"]\n  issuer         = var.cluster_issuer\n  subject        = \"{SUBJECT}\"\n}}\n"
            );
        }
    }
    text.push_str(
        "# The pod needs the label azure.workload.identity/use: \"true\", and its service account the annotation\n# azure.workload.identity/client-id with the application's id.\n",
    );
}

fn managed_identity(text: &mut String, shell: Language) {
    let (name, group) = match shell {
        Language::PowerShell => ("$IDENTITY = 'name'", "$GROUP = 'resource group'"),
        _ => ("IDENTITY='name'", "GROUP='resource group'"),
    };
    let _ = write!(
        text,
        "# Of a user-assigned identity; a system-assigned one shows it in the portal under Identity, Object (principal) ID.\n{name}\n{group}\naz identity show --name \"$IDENTITY\" --resource-group \"$GROUP\" --query principalId --output tsv\n"
    );
}

fn terraform(text: &mut String, plan: &Plan) {
    let name = for_shell(&plan.app_name, Language::Terraform);
    let environment = match plan.target.cloud {
        Cloud::Public | Cloud::Gcc => "public",
        Cloud::GccHigh | Cloud::Dod => "usgovernment",
        Cloud::China => "china",
    };
    let tenant = plan.tenant.as_deref().unwrap_or_default();
    let _ = write!(
        text,
        "provider \"azuread\" {{\n  tenant_id   = {}\n  environment = \"{environment}\"\n}}\n\n\
         resource \"azuread_application_registration\" \"flowgate\" {{\n  display_name     = {name}\n  sign_in_audience = \"AzureADMyOrg\"\n}}\n\n\
         resource \"azuread_service_principal\" \"flowgate\" {{\n  client_id = azuread_application_registration.flowgate.client_id\n}}\n",
        for_shell(tenant, Language::Terraform)
    );
    if matches!(plan.who, Who::Users | Who::Application) {
        text.push_str(
            "\nresource \"azuread_application_identifier_uri\" \"flowgate\" {\n  application_id = azuread_application_registration.flowgate.id\n  identifier_uri = \"api://${azuread_application_registration.flowgate.client_id}\"\n}\n",
        );
    }
    match plan.proof {
        Proof::ClientSecret => text.push_str(
            "\nresource \"azuread_application_password\" \"flowgate\" {\n  application_id = azuread_application_registration.flowgate.id\n  display_name   = \"flowgate\"\n}\n\n\
             output \"flowgate_secret\" {\n  value     = azuread_application_password.flowgate.value\n  sensitive = true\n}\n",
        ),
        Proof::ClientCertificate => {
            let path = for_shell(&secret_path(plan).display().to_string(), Language::Posix);
            let _ = write!(
                text,
                "\n# Make the certificate first, in a shell:\n# (umask 077; openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=flowgate -keyout {path} -out flowgate.crt && cat flowgate.crt >> {path})\nresource \"azuread_application_certificate\" \"flowgate\" {{\n  application_id = azuread_application_registration.flowgate.id\n  type           = \"AsymmetricX509Cert\"\n  value          = file(\"flowgate.crt\")\n}}\n"
            );
        }
        Proof::ManagedIdentity | Proof::WorkloadIdentity | Proof::None => {}
    }
    text.push_str(
        "\noutput \"flowgate_client_id\" {\n  value = azuread_application_registration.flowgate.client_id\n}\n\n\
         output \"flowgate_enterprise_object_id\" {\n  value = azuread_service_principal.flowgate.object_id\n}\n",
    );
    text.push_str("\n# and then, in a shell:\n");
    if plan.proof == Proof::ClientSecret {
        let path = for_shell(&secret_path(plan).display().to_string(), Language::Posix);
        let _ = writeln!(
            text,
            "# (umask 077; terraform output -raw flowgate_secret > {path})"
        );
    }
    let _ = writeln!(
        text,
        "# export {CLIENT_ID}=\"$(terraform output -raw flowgate_client_id)\"\n# terraform output -raw flowgate_enterprise_object_id"
    );
}

fn designer(kind: Kind) -> &'static str {
    match kind {
        Kind::Flow => {
            "# In the trigger `When an HTTP request is received`:\n\
             #   Who can trigger the flow?  Specific users in my tenant\n\
             #   Allowed users              the Object ID of the enterprise application (not that of the app registration)\n\
             # Left empty, Allowed users means any user in the tenant.\n"
        }
        Kind::LogicApp => {
            "# In the Logic App: Settings, Authorization, add a policy with these claims:\n\
             #   Issuer    https://sts.windows.net/<tenant id>/\n\
             #   Audience  what `scope:` or `resource:` of the flow asks for; by default the flow service's\n\
             #   oid       the Object ID of the enterprise application\n"
        }
        Kind::Graph => {
            "# In the app registration: API permissions, Microsoft Graph, Application permissions; add those the calls need, and grant\n\
             # admin consent.\n"
        }
    }
}

/// One call, to see that it works.
fn call(text: &mut String, plan: &Plan, key: &str) {
    let file = files::beside(&plan.output, key).display().to_string();
    let flow = plan.flow.as_str();
    let get = plan.target.kind == Kind::Graph;
    text.push_str("# and in another shell:\n");
    if last(plan.shell) == Language::PowerShell {
        let file = for_shell(&file, Language::PowerShell);
        let body = if get {
            ""
        } else {
            " -Method Post -ContentType application/json -Body '{}'"
        };
        let _ = writeln!(
            text,
            "Invoke-WebRequest -Uri http://127.0.0.1:8080/{flow} -Headers @{{ 'X-Api-Key' = (Get-Content -Raw -LiteralPath {file}) }}{body}"
        );
    } else {
        let file = for_shell(&file, Language::Posix);
        let body = if get {
            ""
        } else {
            " -H 'Content-Type: application/json' -d '{}'"
        };
        let _ = writeln!(
            text,
            "curl -i -H \"X-Api-Key: $(cat {file})\"{body} http://127.0.0.1:8080/{flow}"
        );
    }
}
