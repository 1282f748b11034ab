//! Every way in which a token endpoint or a flow can be out of reach, over real sockets: what the caller, the log, `/readyz`, `/status`,
//! `doctor` and `token` say of it, and whether the fix they name is one.
//!
//! Each row breaks one thing, compares what all places say, then does what the fix says and sees a call go through. With
//! `FLOWGATE_TABLES=FOLDER` the tables are written there as Markdown.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use flowgate::diagnosis::Reason;
use http::Request;
use rcgen::CertificateParams;
use serde_json::Value;
use tempfile::TempDir;
use tracing::Level;

use crate::diagnostics::Diagnostics;
use crate::doctor::Said;
use crate::house::{House, KEY};
use crate::outbound_servers::{
    Certificate, answer, answering, early, expired, for_clients, hanging, https, portal, proxy,
    redirect, saying, silent, token,
};
use crate::process::{Process, text, written};

mod flows;
mod issuers;
mod own;

/// A name that no resolver knows: RFC 2606.
const NOWHERE: &str = "idp.flowgate.invalid";

/// A name that only the tunnel of a test's own proxy leads to.
const ELSEWHERE: &str = "idp.flowgate.test";

/// Where tokens come from, and the rest of `outbound:`.
#[derive(Clone)]
pub struct Way {
    token_url: String,
    outbound: String,
    folders: Vec<Arc<TempDir>>,
}

impl Way {
    fn to(token_url: impl Into<String>) -> Self {
        Self {
            token_url: token_url.into(),
            outbound: String::new(),
            folders: Vec::new(),
        }
    }

    fn with(self, certificate: &Certificate) -> Self {
        let mut way = self.outbound(&certificate.trusted());
        way.folders.push(certificate.folder());
        way
    }

    fn outbound(self, more: &str) -> Self {
        Self {
            outbound: format!("{}, {more}", self.outbound),
            ..self
        }
    }

    fn yaml(&self, flow: SocketAddr) -> String {
        let Self {
            token_url,
            outbound,
            ..
        } = self;
        format!(
            r#"
server: {{ listen: "127.0.0.1:8080" }}
outbound: {{ connect_timeout: 1s, token_timeout: 2s{outbound} }}
callers: {{ erp: {{ api_key: {{ plain: {{ env: ERP_KEY }} }} }} }}
credentials:
  c: {{ client_secret: {{ token_url: "{token_url}", client_id: gateway, secret: {{ env: SECRET }}, scope: read }} }}
flows:
  f: {{ url: "http://{flow}/api", kind: other, methods: [GET], who_can_trigger: [erp], credential: c }}
"#
        )
    }
}

/// One way of failing, and the same configuration after what its fix says.
pub struct Row {
    reason: Reason,
    broken: Way,
    mended: Vec<Way>,
    /// What the chain of causes has to name.
    cause: &'static str,
}

fn row(reason: Reason, broken: Way, mended: Vec<Way>, cause: &'static str) -> Row {
    Row {
        reason,
        broken,
        mended,
        cause,
    }
}

pub async fn ask(house: &House) -> (u16, String, String) {
    let request = Request::get("/f").header("x-api-key", KEY);
    let answer = house.send(request.body("").unwrap()).await;
    (
        answer.status.as_u16(),
        answer.code(),
        answer.problem("fault"),
    )
}

/// What each place said.
pub struct Reports {
    caller: (u16, String, String),
    log: Value,
    call: Value,
    ready: String,
    status: Value,
    doctor: Said,
    token: String,
}

const SECRET: &str = "the-secret-of-the-gateway";

fn variables() -> Vec<(String, String)> {
    [("ERP_KEY", KEY), ("SECRET", SECRET)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

pub async fn places(
    house: &House,
    yaml: &str,
    variables: &[(String, String)],
    diagnostics: &Diagnostics,
) -> Reports {
    let caller = ask(house).await;
    let ready = String::from_utf8(house.page("/readyz").await.body.to_vec()).unwrap();
    let status: Value = serde_json::from_slice(&house.page("/status").await.body).unwrap();
    let (yaml, variables) = (yaml.to_owned(), variables.to_vec());
    let (doctor, token) = tokio::task::spawn_blocking(move || {
        let doctor = Said::run(&yaml, &[], &variables);
        let (_folder, file) = written(&yaml);
        let mut process = Process::start(&["token", "--config", text(&file), "c"], &variables);
        assert_eq!(process.ended().code(), Some(1), "{}", process.said());
        (doctor, process.said())
    })
    .await
    .unwrap();
    Reports {
        caller,
        log: diagnostics.lines("no new token").pop().unwrap(),
        call: diagnostics.lines("a call failed").pop().unwrap(),
        ready,
        status: status["credentials"][0]["trouble"].clone(),
        doctor,
        token,
    }
}

/// What the places do not say of a reason, or say differently. `cause`: what the chain of errors has to name; `caller`: what the caller
/// gets.
pub fn disagreements(reason: Reason, cause: &str, caller: &str, said: &Reports) -> Vec<String> {
    let entry = reason.entry();
    let word = entry.word;
    let named = cause;
    let mut wrong = Vec::new();
    let mut same = |place: &str, got: &str, wanted: &str| {
        if got != wanted {
            wrong.push(format!("{word}: {place}: {got:?} instead of {wanted:?}"));
        }
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (host, cause) = (text(&said.log, "host"), text(&said.log, "cause"));
    for (place, told) in [
        ("log", &said.log),
        ("/status", &said.status),
        ("the call's line", &said.call),
    ] {
        for (name, wanted) in [
            ("reason", word),
            ("host", &*host),
            ("meaning", entry.meaning),
            ("cure", entry.fix),
        ] {
            same(&format!("{place}, {name}"), &text(told, name), wanted);
        }
    }
    for told in [&said.log, &said.status] {
        same("fault", &text(told, "fault"), entry.fault.as_str());
        same("cause", &timeless(&text(told, "cause")), &timeless(&cause));
    }
    same(
        "the call's credential",
        &text(&said.call, "credential"),
        "c",
    );
    let (status, code, fault) = &said.caller;
    same("the caller", &format!("{status} {code} {fault}"), caller);
    let fault = entry.fault.as_str().replace('_', " ");
    let verdict = format!("verdict: wrong ({fault}): {}", entry.fix);
    let section = said.doctor.of("credential c");
    let call = text(&said.call, "cause");
    let fault = format!("Fault: {}.", entry.fault.as_str());
    let everywhere = [&*host, word, entry.meaning, entry.fix, named, &cause];
    for (place, text, parts) in [
        ("doctor", section, &everywhere[..]),
        ("doctor", section, &[&*verdict]),
        ("/readyz", &*said.ready, &everywhere),
        ("token", &*said.token, &everywhere),
        ("token", &*said.token, &[&*fault]),
        ("the call's line", &*call, &[&*host, &*cause]),
    ] {
        for part in parts {
            if !timeless(text).contains(&timeless(part)) {
                wrong.push(format!("{word}: {place}: no {part:?} in {text}"));
            }
        }
    }
    if said.doctor.code != 1 {
        wrong.push(format!("{word}: doctor finds nothing wrong"));
    }
    for text in [&said.ready, &said.doctor.text, &said.token] {
        assert!(!text.contains(SECRET), "{word}: the secret");
    }
    wrong
}

/// Without digits: what rustls says of a certificate's dates has the second of the attempt in it.
fn timeless(text: &str) -> String {
    text.replace(|letter: char| letter.is_ascii_digit(), "")
}

fn line(row: &Row, said: &Reports) -> String {
    let mut line = String::new();
    let (status, code, fault) = &said.caller;
    let cell = |text: &str| text.replace('|', "\\|");
    write!(
        line,
        "| `{}` | {status} `{code}`, {fault} | {} | {} | yes, yes, yes, yes, yes | {} |",
        row.reason.word(),
        cell(said.log["host"].as_str().unwrap()),
        cell(said.log["cause"].as_str().unwrap()),
        cell(row.reason.entry().fix),
    )
    .unwrap();
    line
}

#[expect(clippy::too_many_lines, reason = "a table, one entry a failure")]
pub async fn rows() -> Vec<Row> {
    let at = |address: SocketAddr| format!("https://127.0.0.1:{}/token", address.port());
    let plain = |address: SocketAddr| format!("http://{address}/token");
    let bad = |change: fn(&mut CertificateParams)| Certificate::issued("127.0.0.1", change);
    let good = Certificate::of("127.0.0.1");
    let fine = https(&good, token()).await;
    let fixed = || Way::to(at(fine)).with(&good);
    let open = plain(answering(token()).await);
    let opened = || vec![Way::to(open.clone())];
    let other = Certificate::of("localhost");
    let elsewhere = https(&other, token()).await;
    let at_its_name = format!("https://localhost:{}/token", elsewhere.port());
    let (expired, early, clients) = (bad(expired), bad(early), bad(for_clients));
    let authority = Certificate::alone("127.0.0.1", true);
    let alone = Certificate::alone("127.0.0.1", false);
    let behind = Certificate::of(ELSEWHERE);
    let inner = https(&behind, token()).await;
    let far = || Way::to(format!("https://{ELSEWHERE}/token")).with(&behind);
    let through = |address: &str| far().outbound(&format!("proxy: \"http://{address}\""));
    let working = proxy(inner, None).await.to_string();
    // gate:password
    let guarded = proxy(inner, Some("Z2F0ZTpwYXNzd29yZA==")).await;
    let shut = testkit::refusing().to_string();
    let forbidding = saying(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.to_string();
    let answered = async |status: &str, body: &str| {
        let canned = answer(status, "application/json", body);
        Way::to(plain(answering(canned).await))
    };
    let tls = async |certificate: &Certificate| {
        Way::to(at(https(certificate, token()).await)).with(certificate)
    };
    let says = async |bytes| Way::to(at(saying(bytes).await));
    vec![
        row(
            Reason::Dns,
            Way::to(format!("https://{NOWHERE}/token")),
            vec![fixed()],
            "the name cannot be resolved",
        ),
        row(
            Reason::Refused,
            Way::to(at(testkit::refusing())),
            vec![fixed()],
            "refused",
        ),
        row(
            Reason::ConnectTimeout,
            Way::to(at(silent().await)),
            vec![fixed()],
            "",
        ),
        row(
            Reason::ConnectTimeout,
            Way::to(at(hanging().await)),
            vec![fixed()],
            "no connection in time",
        ),
        row(
            Reason::TlsUnknownAuthority,
            Way::to(at(fine)),
            vec![fixed()],
            "UnknownIssuer",
        ),
        row(
            Reason::TlsUnknownAuthority,
            // An authority made anew: the old one, of the same name, is still the one that is trusted.
            Way::to(at(fine)).with(&bad(|_| ())),
            vec![fixed()],
            "BadSignature",
        ),
        row(
            Reason::TlsWrongName,
            Way::to(at(elsewhere)).with(&other),
            vec![Way::to(at_its_name).with(&other)],
            "localhost",
        ),
        row(
            Reason::TlsExpired,
            tls(&expired).await,
            vec![fixed()],
            "certificate expired",
        ),
        row(
            Reason::TlsNotYetValid,
            tls(&early).await,
            vec![fixed()],
            "not valid yet",
        ),
        row(
            Reason::TlsPurpose,
            tls(&clients).await,
            vec![fixed()],
            "certificate",
        ),
        row(
            Reason::TlsAuthorityAsHost,
            tls(&authority).await,
            // One issued by the authority that is listed, or one signed by itself that is no authority.
            vec![fixed(), tls(&alone).await],
            "CaUsedAsEndEntity",
        ),
        row(
            Reason::TlsPlain,
            says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await,
            opened(),
            "no TLS session",
        ),
        row(
            Reason::TlsVersion,
            // An alert: fatal, protocol_version.
            says(&[21, 3, 1, 0, 2, 2, 70]).await,
            vec![fixed()],
            "ProtocolVersion",
        ),
        row(
            Reason::TlsAlert,
            // An alert: fatal, unrecognized_name.
            says(&[21, 3, 3, 0, 2, 2, 112]).await,
            vec![fixed()],
            "UnrecognisedName",
        ),
        row(
            Reason::TlsEnded,
            says(&[]).await,
            vec![fixed()],
            "no TLS session",
        ),
        row(
            Reason::ProxyDns,
            through(&format!("{NOWHERE}:3128")),
            vec![through(&working)],
            "idp.flowgate.invalid:3128",
        ),
        row(
            Reason::ProxyUnreachable,
            through(&shut),
            vec![through(&working)],
            "refused",
        ),
        row(
            Reason::ProxyAuthentication,
            through(&guarded.to_string()),
            vec![through(&format!("gate:password@{guarded}"))],
            "proxy authorization required",
        ),
        row(
            Reason::ProxyRefused,
            through(&forbidding),
            vec![through(&working)],
            "made no tunnel",
        ),
        row(
            Reason::WebPage,
            Way::to(plain(answering(portal()).await)),
            opened(),
            "it answered 200",
        ),
        row(
            Reason::Redirected,
            Way::to(plain(answering(redirect(&open)).await)),
            opened(),
            "it answered 302",
        ),
        row(
            Reason::Throttled,
            answered("429 Too Many Requests", "").await,
            opened(),
            "it answered 429",
        ),
        row(
            Reason::ProviderError,
            answered("503 Service Unavailable", "").await,
            opened(),
            "it answered 503",
        ),
        row(
            Reason::AnswerInvalid,
            answered("200 OK", "no JSON").await,
            opened(),
            "it answered 200",
        ),
        row(
            Reason::Timeout,
            Way::to(plain(hanging().await)),
            opened(),
            "deadline has elapsed",
        ),
        row(
            Reason::Protocol,
            Way::to(plain(saying(b"SSH-2.0-OpenSSH_9.9\r\n").await)),
            opened(),
            "",
        ),
    ]
}

#[tokio::test]
async fn every_failure_towards_a_provider_is_explained_alike_everywhere_and_its_fix_works() {
    let flow = answering(answer("200 OK", "text/plain", "fine")).await;
    let mut table = vec![
        "| reason | caller | host | cause | in log, /readyz, /status, doctor, token | fix (tried) |"
            .to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut wrong = Vec::new();
    for row in rows().await {
        let word = row.reason.word();
        let diagnostics = Diagnostics::capture(Level::INFO);
        let yaml = row.broken.yaml(flow);
        let house = House::around(House::simulator().await, &yaml, &[("SECRET", SECRET)]).await;
        let said = places(&house, &yaml, &variables(), &diagnostics).await;
        let caller = "503 token_unavailable identity_provider";
        wrong.extend(disagreements(row.reason, row.cause, caller, &said));
        if said.log["host"].is_null() {
            wrong.push(format!("{word}: no host: {}", said.log));
        }
        table.push(line(&row, &said));
        for (number, mended) in row.mended.iter().enumerate() {
            // The token that one way has brought would do for the next.
            let again;
            let house = if number == 0 {
                house.reload(&mended.yaml(flow));
                &house
            } else {
                let simulator = House::simulator().await;
                again = House::around(simulator, &mended.yaml(flow), &[("SECRET", SECRET)]).await;
                &again
            };
            let answer = ask(house).await;
            let trouble = house.page("/status").await.body;
            let trouble = String::from_utf8_lossy(&trouble);
            if answer.0 != 200 {
                wrong.push(format!("{word}: the fix: {answer:?} {trouble}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    write_table("providers", &table);
}

/// Writes a table for the reader, where one is wanted.
fn write_table(name: &str, rows: &[String]) {
    if let Some(folder) = std::env::var_os("FLOWGATE_TABLES") {
        let file = std::path::Path::new(&folder).join(format!("{name}.md"));
        std::fs::write(file, rows.join("\n") + "\n").unwrap();
    }
}
