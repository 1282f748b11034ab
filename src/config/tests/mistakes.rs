//! One case per mistake: where it is told, and what the cure says.
//!
//! Each case is a file of its own beside a sound one. `<<<` marks the line at which the problem has to be told; a case has that problem
//! and no other.

use super::super::Secrets;
use super::super::problem::Severity;
use super::examine_files;

/// Sound, and enough for a case to refer to.
const BASE: &str = r"
callers:
  erp: { api_key: { sha256: { env: KEY_HASH } } }
credentials:
  flows:
    client_secret: { tenant: 8f3b0000-0000-0000-0000-000000000001, client_id: 22220000-0000-0000-0000-000000000001, secret: { env: SECRET } }
flows:
  base: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows }
";

const TENANT: &str = "8f3b0000-0000-0000-0000-000000000001";

/// Severity, key path, a part of the message or cure, the file.
type Case = (Severity, &'static str, &'static str, &'static str);

use Severity::{Error, Note, Warning};

fn judge(cases: &[Case]) {
    for (severity, path, fragment, text) in cases {
        let line = text
            .lines()
            .position(|line| line.contains("<<<"))
            .map(|line| line + 1);
        let text = text.replace("<<<", "").replace("TENANT", TENANT);
        let secrets = if *severity == Note {
            Secrets::Optional
        } else {
            Secrets::Required
        };
        let outcome = examine_files(&[("base.yaml", BASE), ("case.yaml", &text)], secrets);
        let problems: Vec<_> = outcome.problems.iter().collect();
        let [problem] = problems[..] else {
            panic!(
                "{text}\nhas {} problems:\n{}",
                problems.len(),
                outcome.problems
            );
        };
        let spot = problem.spot.as_ref().expect("a place");
        assert_eq!(problem.severity, *severity, "{text}\n{problem}");
        assert_eq!(&*spot.path, *path, "{text}\n{problem}");
        assert_eq!(
            (&*spot.file, Some(spot.line)),
            ("case.yaml", line),
            "{text}\n{problem}"
        );
        let written = text.lines().nth(spot.line - 1).unwrap_or_default();
        let below: String = written.chars().skip(spot.column - 1).collect();
        let free = &*spot.key == "…";
        assert!(
            free || below.starts_with(spot.key.as_ref()),
            "{text}\n{problem}"
        );
        assert!(problem.to_string().contains(fragment), "{text}\n{problem}");
    }
}

#[test]
fn mistakes_of_yaml_are_told_in_words_of_ours() {
    judge(&[
        (Error, "", "indent with spaces", "flows:\n\tx: 1 # <<<"),
        (
            Error,
            "",
            "close the quote",
            "log:\n  level: \"info\n  access: true <<<\n",
        ),
        (
            Error,
            "",
            "brackets do not match",
            "log: { level: info ] # <<<",
        ),
        (
            Error,
            "",
            "second YAML document",
            "log: { level: info }\n--- # <<<\nlog: {}",
        ),
        (Error, "", "an alias", "log: { level: *x } # <<<"),
        (Error, "", "tags", "log: { level: !!str info } # <<<"),
        (
            Error,
            "",
            "a key has to be plain text",
            "log:\n  [a]: b # <<<",
        ),
        (Error, "", "directives", "%YAML 1.2 # <<<\n---\nlog: {}"),
        (
            Error,
            "",
            "nested too deeply",
            "log: [[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]] # <<<",
        ),
    ]);
}

#[test]
fn keys_that_are_unknown_double_or_not_built_are_refused_by_name() {
    judge(&[
        (
            Error,
            "flows.a",
            "did you mean `who_can_trigger`?",
            "flows:\n  a:\n    url: { env: FLOW_URL }\n    who_can_triger: erp # <<<\n    who_can_trigger: erp\n    credential: flows",
        ),
        (
            Error,
            "server",
            "known here: listen, base_path",
            "server:\n  port: 1 # <<<",
        ),
        (Error, "", "did you mean `callers`?", "caller: {} # <<<"),
        (
            Error,
            "log",
            "the same key twice",
            "log:\n  level: info\n  level: debug # <<<",
        ),
        (
            Error,
            "log",
            "merge keys",
            "log:\n  level: &a info\n  <<: *a # <<<",
        ),
        (
            Error,
            "flows",
            "the same key twice",
            "flows:\n  base: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows } # <<<",
        ),
        (
            Error,
            "flows",
            "this is not a name",
            "flows:\n  Order_Created: { url: { env: FLOW_URL }, who_can_trigger: erp, credential: flows } # <<<",
        ),
        (
            Error,
            "log.level",
            "there is no value",
            "log:\n  level: # <<<",
        ),
        (
            Error,
            "flows.a.who_can_trigger",
            "the list is empty",
            "flows:\n  a:\n    who_can_trigger: [] # <<<\n    url: { env: FLOW_URL }\n    credential: flows",
        ),
        (
            Error,
            "secrets.key_vault",
            "not built yet",
            "secrets:\n  key_vault: { credential: x } # <<<",
        ),
        (
            Error,
            "flows.a.url.key_vault",
            "not built yet",
            "flows:\n  a:\n    url: { key_vault: x } # <<<\n    who_can_trigger: erp\n    credential: flows",
        ),
        (
            Error,
            "flows.a.schema",
            "not built yet",
            "flows:\n  a:\n    url: { env: FLOW_URL }\n    who_can_trigger: erp\n    credential: flows\n    schema: { file: x } # <<<",
        ),
    ]);
    for kind in ["basic", "client_certificate", "hmac", "network"] {
        later(
            &format!("callers:\n  scanner: {{ {kind}: {{ a: b }} }}"),
            &format!("callers.scanner.{kind}"),
        );
    }
    for kind in [
        "client_certificate",
        "workload_identity",
        "managed_identity",
        "refresh_token",
        "password",
        "on_behalf_of",
        "bearer",
    ] {
        later(
            &format!("credentials:\n  x: {{ {kind}: {{ a: b }} }}"),
            &format!("credentials.x.{kind}"),
        );
    }
    later("server: { tls: { client_ca: x } }", "server.tls.client_ca");
    later(
        "credentials:\n  x: { client_secret: { next_secret: a } }",
        "credentials.x.client_secret.next_secret",
    );
}

/// A kind that is documented and not built is told once, at its place, whatever else is told.
fn later(text: &str, path: &str) {
    let outcome = examine_files(&[("case.yaml", text)], Secrets::Required);
    let told: Vec<_> = outcome
        .problems
        .iter()
        .filter(|problem| problem.message.as_str().contains("not built yet"))
        .collect();
    assert_eq!(told.len(), 1, "{}", outcome.problems);
    assert_eq!(told[0].spot.as_ref().map(|spot| &*spot.path), Some(path));
    assert!(outcome.config.is_none());
}

#[test]
fn values_say_what_they_have_to_be() {
    judge(&[
        (
            Error,
            "server.listen",
            "127.0.0.1:8080",
            "server:\n  listen: localhost:8080 # <<<",
        ),
        (
            Error,
            "server.drain",
            "250ms, 30s, 5m",
            "server:\n  drain: 10 # <<<",
        ),
        (
            Error,
            "server.drain",
            "a duration over zero",
            "server: { drain: 0s } # <<<",
        ),
        (
            Error,
            "server.buffer_memory",
            "10MiB",
            "server: { buffer_memory: 1MB } # <<<",
        ),
        (
            Error,
            "server.max_connections",
            "whole number",
            "server: { max_connections: -1 } # <<<",
        ),
        (
            Error,
            "server.base_path",
            "not a plain path",
            "server: { base_path: /a//b } # <<<",
        ),
        (
            Error,
            "server.trusted_proxies[1]",
            "192.0.2.0/24",
            "server:\n  trusted_proxies:\n    - 192.0.2.1\n    - proxy # <<<",
        ),
        (
            Warning,
            "server.trusted_proxies[0]",
            "list the proxies alone",
            "server:\n  trusted_proxies:\n    - 0.0.0.0/0 # <<<",
        ),
        (
            Error,
            "log.access",
            "true or false",
            "log: { access: yes } # <<<",
        ),
        (
            Error,
            "log.level",
            "did you mean `debug`?",
            "log: { level: debgu } # <<<",
        ),
        (
            Error,
            "log.format",
            "one of: json, text",
            "log: { format: logfmt } # <<<",
        ),
        (Error, "log", "a section with keys", "log: debug # <<<"),
        (
            Error,
            "log.level",
            "a single value",
            "log: { level: [info] } # <<<",
        ),
        (
            Error,
            "log.level",
            "MISSING_VARIABLE is not set",
            "log: { level: '${MISSING_VARIABLE}' } # <<<",
        ),
        (
            Error,
            "log.level",
            "$${",
            "log: { level: '${missing' } # <<<",
        ),
        (
            Error,
            "outbound.ca",
            "/none/ca.pem",
            "outbound: { ca: /none/ca.pem } # <<<",
        ),
        (
            Error,
            "outbound.proxy",
            "http://host:port",
            "outbound: { proxy: 'https://proxy.example/x' } # <<<",
        ),
        (
            Warning,
            "outbound.proxy",
            "plain text",
            "outbound: { proxy: 'http://a:b@proxy.example:3128' } # <<<",
        ),
        (
            Error,
            "outbound.insecure_hosts[0]",
            "without https://",
            "outbound: { insecure_hosts: ['http://a'] } # <<<",
        ),
    ]);
}

#[test]
fn secrets_say_where_they_are_missing_and_never_what_they_are() {
    judge(&[
        (
            Error,
            "callers.a.api_key.sha256",
            "not set: NO_SUCH_HASH",
            "callers:\n  a: { api_key: { sha256: { env: NO_SUCH_HASH } } } # <<<\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: a, credential: flows }",
        ),
        (
            Note,
            "callers.a.api_key.sha256",
            "not set: NO_SUCH_HASH",
            "callers:\n  a: { api_key: { sha256: { env: NO_SUCH_HASH } } } # <<<\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: a, credential: flows }",
        ),
        (
            Error,
            "flows.b.url",
            "/none/url",
            "flows:\n  b: { url: { file: /none/url }, who_can_trigger: erp, credential: flows } # <<<",
        ),
        (
            Error,
            "flows.b.url",
            "the value is empty",
            "flows:\n  b: { url: { env: EMPTY }, who_can_trigger: erp, credential: flows } # <<<",
        ),
        (
            Error,
            "flows.b.url",
            "exactly one place",
            "flows:\n  b: { url: { env: A, file: b }, who_can_trigger: erp, credential: flows } # <<<",
        ),
        (
            Error,
            "flows.b.url",
            "this is empty",
            "flows:\n  b: { url: '', who_can_trigger: erp, credential: flows } # <<<",
        ),
        (
            Warning,
            "flows.b.url",
            "{ env: NAME }",
            "flows:\n  b: { url: 'https://x.environment.api.powerplatform.com/workflows/1/triggers/manual/paths/invoke?api-version=1&sig=a', who_can_trigger: anyone } # <<<",
        ),
        (
            Warning,
            "callers.a.api_key.plain",
            "plain text",
            "callers:\n  a: { api_key: { plain: 0123456789abcdefghij } } # <<<\nflows:\n  b: { url: { env: FLOW_URL }, who_can_trigger: a, credential: flows }",
        ),
    ]);
}

#[test]
fn callers_that_admit_nobody_or_too_many_are_refused() {
    let cases: Vec<(Severity, &str, &str, &str)> = vec![
        (
            Warning,
            "callers.x",
            "no flow lists this caller",
            "entra: { tenant: TENANT, audience: x }",
        ),
        (Error, "callers.x", "in no way", ""),
        (
            Error,
            "callers.x",
            "several ways",
            "entra: { tenant: TENANT, audience: x }, jwt: { issuer: 'https://i', audience: x }",
        ),
        (
            Error,
            "callers.x.entra",
            "`audience` is missing",
            "entra: { tenant: TENANT }",
        ),
        (
            Error,
            "callers.x.entra",
            "`tenant` is missing",
            "entra: { audience: x }",
        ),
        (
            Error,
            "callers.x.entra.tenant",
            "not its domain",
            "entra: { tenant: acme.example, audience: x }",
        ),
        (
            Error,
            "callers.x.entra.audience",
            "a Microsoft service",
            "entra: { tenant: TENANT, audience: 'https://service.flow.microsoft.com/' }",
        ),
        (
            Error,
            "callers.x.entra.audience",
            "a Microsoft service",
            "entra: { tenant: TENANT, audience: 00000003-0000-0000-c000-000000000000 }",
        ),
        (
            Error,
            "callers.x.entra.apps",
            "leave `apps` out",
            "entra: { tenant: TENANT, audience: x, client_ids: TENANT, apps: true }",
        ),
        (
            Error,
            "callers.x.entra.object_ids",
            "enterprise application",
            "entra: { tenant: TENANT, audience: x, object_ids: bob }",
        ),
        (
            Error,
            "callers.x.entra.client_ids",
            "Application (client) ID",
            "entra: { tenant: TENANT, audience: x, client_ids: bob }",
        ),
        (
            Error,
            "callers.x.entra.groups",
            "object id",
            "entra: { tenant: TENANT, audience: x, groups: bob }",
        ),
        (
            Error,
            "callers.x.entra.cloud",
            "gcc-high",
            "entra: { tenant: TENANT, audience: x, cloud: gccx }",
        ),
        (
            Error,
            "callers.x.entra.authority",
            "use https://",
            "entra: { tenant: TENANT, audience: x, authority: 'http://login.example' }",
        ),
        (
            Error,
            "callers.x.entra.require",
            "one of: all, any",
            "entra: { tenant: TENANT, audience: x, require: some }",
        ),
        (
            Error,
            "callers.x.jwt",
            "`issuer` is missing",
            "jwt: { audience: x }",
        ),
        (
            Error,
            "callers.x.jwt",
            "`audience` is missing",
            "jwt: { issuer: 'https://i' }",
        ),
        (
            Error,
            "callers.x.jwt.issuer",
            "use https://",
            "jwt: { issuer: 'http://localhost', audience: x }",
        ),
        (
            Error,
            "callers.x.jwt.issuer",
            "not a URL",
            "jwt: { issuer: idp, audience: x }",
        ),
        (
            Error,
            "callers.x.jwt.issuer",
            "query or a fragment",
            "jwt: { issuer: 'https://idp/?a', audience: x }",
        ),
        (
            Error,
            "callers.x.jwt.jwks_url",
            "user or password",
            "jwt: { issuer: 'https://idp', jwks_url: 'https://a:b@idp', audience: x }",
        ),
        (
            Error,
            "callers.x.jwt.algorithms",
            "can also make one",
            "jwt: { issuer: 'https://idp', audience: x, algorithms: HS256 }",
        ),
        (
            Error,
            "callers.x.jwt.algorithms",
            "can also make one",
            "jwt: { issuer: 'https://idp', audience: x, algorithms: none }",
        ),
        (
            Error,
            "callers.x.jwt.algorithms",
            "choose from RS256",
            "jwt: { issuer: 'https://idp', audience: x, algorithms: RS257 }",
        ),
        (
            Error,
            "callers.x.api_key",
            "exactly one of `sha256`",
            "api_key: {}",
        ),
        (
            Error,
            "callers.x.api_key.header",
            "scheme: Bearer",
            "api_key: { header: Authorization, sha256: { env: OTHER_HASH } }",
        ),
        (
            Error,
            "callers.x.api_key.header",
            "X-Api-Key",
            "api_key: { header: X-Forwarded-For, sha256: { env: OTHER_HASH } }",
        ),
        (
            Error,
            "callers.x.api_key.header",
            "not a header name",
            "api_key: { header: 'X Key', sha256: { env: OTHER_HASH } }",
        ),
        (
            Error,
            "callers.x.api_key.scheme",
            "keep one of them",
            "api_key: { header: X-Key, scheme: Bearer, sha256: { env: OTHER_HASH } }",
        ),
        (
            Error,
            "callers.x.api_key.keys",
            "side by side",
            "api_key: { sha256: { env: OTHER_HASH }, keys: [{ sha256: { env: OTHER_HASH } }] }",
        ),
        (
            Error,
            "callers.x.api_key.sha256",
            "SHA-256 in hex",
            "api_key: { sha256: abc }",
        ),
        (
            Error,
            "callers.x.api_key.plain",
            "shorter than 16 bytes",
            "api_key: { plain: { env: SHORT } }",
        ),
        (
            Error,
            "callers.x.api_key.sha256",
            "belongs to `erp` already",
            "api_key: { sha256: { env: KEY_HASH } }",
        ),
        (
            Error,
            "callers.x.api_key.keys[0].expires",
            "`expires` after `not_before`",
            "api_key: { keys: [{ sha256: { env: OTHER_HASH }, not_before: 2030-01-02, expires: 2030-01-02 }] }",
        ),
        (
            Warning,
            "callers.x.api_key.keys[0].expires",
            "has expired",
            "api_key: { keys: [{ sha256: { env: OTHER_HASH }, expires: 2026-11-22 }] }",
        ),
        (
            Error,
            "callers.x.api_key.keys[0].expires",
            "beginning of that day",
            "api_key: { keys: [{ sha256: { env: OTHER_HASH }, expires: 31.12.2030 }] }",
        ),
    ];
    for (severity, path, fragment, entry) in cases {
        let used = if path == "callers.x" && severity == Warning {
            "erp"
        } else {
            "x"
        };
        let text = format!(
            "callers:\n  x: {{ {entry} }} # <<<\nflows:\n  b: {{ url: {{ env: FLOW_URL }}, who_can_trigger: {used}, credential: flows }}"
        );
        let (path, text) = (path.to_owned().leak(), text.leak());
        judge(&[(severity, path, fragment.to_owned().leak(), text)]);
    }
}

#[test]
fn credentials_that_the_provider_would_refuse_are_refused_here() {
    let id = "client_id: 22220000-0000-0000-0000-000000000002, secret: { env: SECRET }";
    let cases: Vec<(Severity, &str, &str, String)> = vec![
        (
            Warning,
            "credentials.c",
            "no flow uses this credential",
            format!("client_secret: {{ tenant: TENANT, {id} }}"),
        ),
        (
            Error,
            "credentials.c",
            "no kind that is built",
            String::new(),
        ),
        (
            Error,
            "credentials.c.client_secret",
            "`tenant` is missing",
            format!("client_secret: {{ {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret",
            "`client_id` is missing",
            "client_secret: { tenant: TENANT, secret: { env: SECRET } }".to_owned(),
        ),
        (
            Error,
            "credentials.c.client_secret",
            "`secret` is missing",
            "client_secret: { tenant: TENANT, client_id: TENANT }".to_owned(),
        ),
        (
            Error,
            "credentials.c.client_secret.client_id",
            "Application (client) ID",
            "client_secret: { tenant: TENANT, client_id: app, secret: { env: SECRET } }".to_owned(),
        ),
        (
            Error,
            "credentials.c.client_secret.secret",
            "the secret's ID",
            "client_secret: { tenant: TENANT, client_id: TENANT, secret: { env: GUID } }"
                .to_owned(),
        ),
        (
            Error,
            "credentials.c.client_secret.tenant",
            "one tenant",
            format!("client_secret: {{ tenant: common, {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.authority",
            "use https://",
            format!("client_secret: {{ tenant: TENANT, authority: 'http://login.example', {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.scope",
            "https://service.flow.microsoft.com//.default",
            format!(
                "client_secret: {{ tenant: TENANT, scope: 'https://service.flow.microsoft.com/.default', {id} }}"
            ),
        ),
        (
            Error,
            "credentials.c.client_secret.scope",
            "ends in /.default",
            format!("client_secret: {{ tenant: TENANT, scope: User.Read, {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.resource",
            "endpoint: v1",
            format!(
                "client_secret: {{ tenant: TENANT, resource: 'https://graph.microsoft.com', {id} }}"
            ),
        ),
        (
            Error,
            "credentials.c.client_secret.scope",
            "endpoint: v2",
            format!("client_secret: {{ tenant: TENANT, endpoint: v1, scope: 'a/.default', {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.resource",
            "ends in a slash",
            format!(
                "client_secret: {{ tenant: TENANT, endpoint: v1, resource: 'https://service.flow.microsoft.com', {id} }}"
            ),
        ),
        (
            Error,
            "credentials.c.client_secret.resource",
            "leave /.default out",
            format!(
                "client_secret: {{ tenant: TENANT, endpoint: v1, resource: 'a/.default', {id} }}"
            ),
        ),
        (
            Error,
            "credentials.c.client_secret.resource",
            "exclude each other",
            format!("client_secret: {{ tenant: TENANT, resource: a, scope: 'a/.default', {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.tenant",
            "exclude each other",
            format!("client_secret: {{ tenant: TENANT, token_url: 'https://idp/token', {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.token_url",
            "use https://",
            format!("client_secret: {{ token_url: 'http://idp/token', {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.parameters",
            "not Entra ID",
            format!("client_secret: {{ tenant: TENANT, parameters: {{ a: b }}, {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.parameters.…",
            "itself",
            format!(
                "client_secret: {{ token_url: 'https://idp/token', parameters: {{ grant_type: b }}, {id} }}"
            ),
        ),
        (
            Warning,
            "credentials.c.client_secret.expires",
            "has expired",
            format!("client_secret: {{ tenant: TENANT, expires: 2026-01-01, {id} }}"),
        ),
        (
            Error,
            "credentials.c.client_secret.client_auth",
            "one of: post, basic",
            format!("client_secret: {{ tenant: TENANT, client_auth: form, {id} }}"),
        ),
    ];
    for (severity, path, fragment, entry) in cases {
        let used = if path == "credentials.c" && severity == Warning {
            "flows"
        } else {
            "c"
        };
        let text = format!(
            "credentials:\n  c: {{ {entry} }} # <<<\nflows:\n  b: {{ url: 'http://127.0.0.1:9/x', who_can_trigger: erp, credential: {used} }}"
        );
        let (path, text) = (path.to_owned().leak(), text.leak());
        judge(&[(severity, path, fragment.to_owned().leak(), text)]);
    }
}

#[test]
fn flows_that_cannot_work_or_would_lend_too_much_are_refused() {
    let new = "https://a.b.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/triggers/manual/paths/invoke";
    let url = "url: { env: FLOW_URL }";
    let flows = "who_can_trigger: erp, credential: flows";
    let cases: Vec<(Severity, &str, &str, String)> = vec![
        (Error, "flows.f", "`url` is missing", flows.to_owned()),
        (
            Error,
            "flows.f",
            "`who_can_trigger` is missing",
            format!("{url}, credential: flows"),
        ),
        (
            Error,
            "flows.f.who_can_trigger",
            "did you mean `erp`?",
            format!("{url}, credential: flows, who_can_trigger: er"),
        ),
        (
            Error,
            "flows.f.who_can_trigger",
            "defined are: erp",
            format!("{url}, credential: flows, who_can_trigger: somebody"),
        ),
        (
            Error,
            "flows.f.who_can_trigger[1]",
            "beside callers' names",
            format!("{url}, credential: flows, who_can_trigger: [erp, anyone]"),
        ),
        (
            Warning,
            "flows.f.who_can_trigger[1]",
            "listed twice",
            format!("{url}, credential: flows, who_can_trigger: [erp, erp]"),
        ),
        (
            Error,
            "flows.f.credential",
            "did you mean `flows`?",
            format!("{url}, who_can_trigger: erp, credential: flow"),
        ),
        (
            Error,
            "flows.f.who_can_trigger",
            "act as the gateway",
            format!("{url}, who_can_trigger: anyone, credential: flows"),
        ),
        (
            Error,
            "flows.f.who_can_trigger",
            "everything below the URL",
            "url: 'https://x.example/', who_can_trigger: anyone, subpaths: true".to_owned(),
        ),
        (
            Error,
            "flows.f.url",
            "no signature",
            format!("{url}, who_can_trigger: erp"),
        ),
        (
            Error,
            "flows.f.url",
            "`api-version`",
            format!("url: '{new}', {flows}"),
        ),
        (
            Error,
            "flows.f.url",
            "use https://",
            format!("url: 'http://x.example/', who_can_trigger: erp"),
        ),
        (
            Error,
            "flows.f.url",
            "use https://",
            "url: 'http://localhost/', who_can_trigger: erp".to_owned(),
        ),
        (
            Error,
            "flows.f.url",
            "not a URL",
            "url: 'x.example/a', who_can_trigger: erp".to_owned(),
        ),
        (
            Error,
            "flows.f.url",
            "user or password",
            "url: 'https://a:b@x.example/a', who_can_trigger: erp".to_owned(),
        ),
        (
            Error,
            "flows.f.url",
            "from # on",
            "url: 'https://x.example/a#b', who_can_trigger: erp".to_owned(),
        ),
        (
            Error,
            "flows.f.url",
            "`..`",
            "url: 'https://x.example/a/../b', who_can_trigger: erp".to_owned(),
        ),
        (
            Warning,
            "flows.f.url",
            "signature is dropped",
            format!("url: {{ env: SIGNED_URL }}, {flows}"),
        ),
        (
            Warning,
            "flows.f.url",
            "kind: logic_app",
            format!(
                "url: 'https://prod-1.westeurope.logic.azure.com/workflows/0/triggers/manual/paths/invoke?api-version=1', {flows}"
            ),
        ),
        (
            Error,
            "flows.f.url",
            "set cloud: gcc-high",
            format!(
                "url: 'https://a.b.environment.api.high.powerplatform.microsoft.us/workflows/0/triggers/manual/paths/invoke?api-version=1', {flows}"
            ),
        ),
        (
            Error,
            "flows.f.url",
            "another cloud",
            format!("{url}, scope: 'https://high.service.flow.microsoft.us//.default', {flows}"),
        ),
        (
            Error,
            "flows.f.url",
            "allow_host: true",
            format!("url: 'https://x.example/', {flows}"),
        ),
        (
            Error,
            "flows.f.url",
            "allow_host: true",
            format!("url: 'https://logic.azure.com.example/', {flows}"),
        ),
        (
            Error,
            "flows.f.url",
            "allow_host: true",
            format!("url: 'https://x.azurewebsites.net/', {flows}"),
        ),
        (
            Error,
            "flows.f.scope",
            "two slashes",
            format!("{url}, scope: 'https://service.flow.microsoft.com/.default', {flows}"),
        ),
        (
            Error,
            "flows.f.scope",
            "no credential",
            "url: 'https://x.example/', who_can_trigger: erp, scope: a".to_owned(),
        ),
        (
            Error,
            "flows.f.path",
            "not a plain path",
            format!("{url}, path: order, {flows}"),
        ),
        (
            Error,
            "flows.f.path",
            "not a plain path",
            format!("{url}, path: '/a%2fb', {flows}"),
        ),
        (
            Error,
            "flows.f.path",
            "not a plain path",
            format!("{url}, path: /a/../b, {flows}"),
        ),
        (
            Error,
            "flows.f.path",
            "not a plain path",
            format!("{url}, path: /a/, {flows}"),
        ),
        (
            Error,
            "flows.f.path",
            "reserved",
            format!("{url}, path: /-/live, {flows}"),
        ),
        (
            Error,
            "flows.f.path",
            "overlaps that of `base`",
            format!("{url}, path: /base, {flows}"),
        ),
        (
            Error,
            "flows.f.methods[1]",
            "in capitals",
            format!("{url}, methods: [POST, get], {flows}"),
        ),
        (
            Error,
            "flows.f.methods",
            "choose from GET",
            format!("{url}, methods: CONNECT, {flows}"),
        ),
        (
            Error,
            "flows.f.query[0]",
            "never a caller's",
            format!("{url}, query: [SIG], {flows}"),
        ),
        (
            Error,
            "flows.f.content_types",
            "application/json",
            format!("{url}, content_types: json, {flows}"),
        ),
        (
            Error,
            "flows.f.response_headers.remove",
            "not a header name",
            format!("{url}, response_headers: {{ remove: 'a b' }}, {flows}"),
        ),
        (
            Error,
            "flows.f.timeout",
            "a duration",
            format!("{url}, timeout: 130, {flows}"),
        ),
        (
            Warning,
            "flows.f.timeout",
            "server.drain",
            format!("{url}, timeout: 200s, {flows}"),
        ),
        (
            Warning,
            "flows.f.body_limit",
            "100 MiB",
            format!("{url}, body_limit: 101MiB, {flows}"),
        ),
        (
            Error,
            "flows.f.trigger.mode",
            "refuses calls that carry a token",
            format!("{url}, trigger: {{ mode: anyone }}, {flows}"),
        ),
        (
            Error,
            "flows.f.trigger.mode",
            "wants a token",
            format!("{url}, trigger: {{ mode: users }}, who_can_trigger: erp"),
        ),
        (
            Error,
            "flows.f.trigger.tenant",
            "belongs to another",
            format!("{url}, trigger: {{ tenant: 8f3b0000-0000-0000-0000-000000000009 }}, {flows}"),
        ),
        (
            Error,
            "flows.f.trigger.tenant",
            "not a GUID",
            format!("{url}, trigger: {{ tenant: acme.example }}, {flows}"),
        ),
        (
            Error,
            "flows.f.trigger.object_ids",
            "mode: users",
            format!("{url}, trigger: {{ mode: tenant, object_ids: TENANT }}, {flows}"),
        ),
        (
            Error,
            "flows.f.trigger.method",
            "add it to `methods`",
            format!("{url}, trigger: {{ method: GET }}, {flows}"),
        ),
        (
            Warning,
            "flows.f.trigger.method",
            "lists more",
            format!("{url}, methods: [GET, POST], trigger: {{ method: GET }}, {flows}"),
        ),
        (
            Error,
            "flows.f.kind",
            "one of: power_automate",
            format!("{url}, kind: flow, {flows}"),
        ),
        (
            Error,
            "flows.f.subpaths",
            "true or false",
            format!("{url}, subpaths: 1, {flows}"),
        ),
    ];
    for (severity, path, fragment, entry) in cases {
        let text = format!("flows:\n  f: {{ {entry} }} # <<<");
        let (path, text) = (path.to_owned().leak(), text.leak());
        judge(&[(severity, path, fragment.to_owned().leak(), text)]);
    }
}
