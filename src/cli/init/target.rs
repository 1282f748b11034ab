//! What answers at a URL.
//!
//! In: a URL, or a command with one in it (`curl` as the designer copies it, `Invoke-RestMethod`). Out: the URL, the kind of service and its
//! cloud, whether the URL carries its own signature, and what is known of tenant and method. Refuses what is no trigger and no
//! Microsoft Graph, and a URL that a shell has cut at `&` (facts A1).

use crate::clouds;
use crate::clouds::Cloud;
use crate::config::raw::Method;
use crate::flow::TriggerUrl;
use settings::values::{Vocabulary as _, guid};
use simulator::directory::{CALLER_APP, DEMO_TENANT, GATEWAY_APP};

/// The application that calls, in the simulator's directory.
pub const SIMULATED_CALLER: &str = CALLER_APP;

/// What answers at a URL.
pub struct Target {
    /// The URL. A secret when it is signed.
    pub url: String,
    /// Whether it carries its own signature.
    pub signed: bool,
    /// What kind of service it is.
    pub kind: Kind,
    /// Its cloud.
    pub cloud: Cloud,
    /// The method of the copied command.
    pub method: Option<&'static str>,
    /// Whether it is `flowgate simulate`.
    pub simulated: bool,
    /// The simulated Entra ID.
    pub authority: Option<String>,
    /// The tenant, where the URL names it.
    pub tenant: Option<String>,
    /// The gateway's application, where it is known.
    pub client_id: Option<String>,
}

/// Kinds of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Power Automate flow.
    Flow,
    /// An Azure Logic App.
    LogicApp,
    /// Microsoft Graph.
    Graph,
}

/// Why a text is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("there is no URL in this text: copy the trigger's URL, beginning with https://")]
    NoUrl,
    #[error("a quote in the copied command is not closed: copy all of it")]
    Quotes,
    #[error(
        "this is not a URL that can be called: copy it whole, without # and without a user before the host"
    )]
    NotCallable,
    #[error(
        "a trigger's URL has `api-version` in its query, this one has none: copy the whole URL; a shell cuts it at & unless it is quoted"
    )]
    CutShort,
    #[error("plain http is for a simulator on this machine alone (127.0.0.1 or [::1])")]
    PlainHttp,
    #[error(
        "this is neither the URL of a flow's or Logic App's trigger nor Microsoft Graph's; write the configuration by hand, docs/configuration.md shows how"
    )]
    Unknown,
    #[error(
        "a Logic App (Standard) without sig= in its URL wants a token for an audience of its own; write `scope:` by hand, docs/configuration.md shows how"
    )]
    OwnAudience,
}

impl Target {
    /// In words.
    #[must_use]
    pub fn described(&self) -> String {
        let what = match self.kind {
            Kind::Flow => "a Power Automate flow",
            Kind::LogicApp => "an Azure Logic App",
            Kind::Graph => "Microsoft Graph",
        };
        let how = if self.signed {
            "open to anyone who has its signed URL"
        } else {
            "which wants a token"
        };
        let place = if self.simulated {
            "of the simulator".to_owned()
        } else {
            format!("in the {} cloud", clouds::name(self.cloud))
        };
        format!("{what} {place}, {how}")
    }
}

/// Whether a URL carries a signature, however the text is damaged.
#[must_use]
pub fn is_signed(text: &str) -> bool {
    text.to_ascii_lowercase().contains("sig=")
}

/// What answers at the URL in this text.
pub fn recognise(text: &str) -> Result<Target, Unusable> {
    let (url, method) = extract(text)?;
    let parsed = TriggerUrl::parse(&url).map_err(|_| Unusable::NotCallable)?;
    let authority = parsed.uri().authority().map(ToString::to_string);
    let authority = authority.unwrap_or_default();
    let host = parsed.host().to_ascii_lowercase();
    let simulated = clouds::loopback(&host);
    if parsed.plain() && !simulated {
        return Err(Unusable::PlainHttp);
    }
    let path = parsed.uri().path();
    let known = clouds::known(&host);
    let service = known.map(|host| host.service);
    let imitated = path.starts_with("/v1.0/") || path.starts_with("/beta/");
    let graph = (matches!(service, Some(clouds::Service::Api(_))) && host.contains("graph."))
        || (simulated && imitated);
    let standard = clouds::within(&host, "azurewebsites.net");
    let logic = ["logic.azure.com", "logic.azure.us", "logic.azure.cn"]
        .iter()
        .any(|suffix| clouds::within(&host, suffix));
    let flows = service == Some(clouds::Service::Flows) && !logic;
    let kind = if graph {
        Kind::Graph
    } else if parsed.is_trigger() && (logic || standard) {
        Kind::LogicApp
    } else if parsed.is_trigger() && (flows || simulated) {
        Kind::Flow
    } else {
        return Err(Unusable::Unknown);
    };
    if kind != Kind::Graph && !parsed.parameter("api-version") {
        return Err(Unusable::CutShort);
    }
    let signed = parsed.signed();
    if standard && !signed {
        return Err(Unusable::OwnAudience);
    }
    let cloud = known.and_then(|host| host.clouds.first().copied());
    let scheme = if parsed.plain() { "http" } else { "https" };
    Ok(Target {
        signed,
        kind,
        cloud: cloud.unwrap_or(match host.rsplit('.').next() {
            Some("us") => Cloud::GccHigh,
            Some("cn") => Cloud::China,
            _ => Cloud::Public,
        }),
        method,
        simulated,
        authority: simulated.then(|| format!("{scheme}://{authority}")),
        tenant: if simulated {
            Some(DEMO_TENANT.to_owned())
        } else {
            of_default_environment(&host)
        },
        client_id: simulated.then(|| GATEWAY_APP.to_owned()),
        url,
    })
}

/// The tenant of a default environment, whose host begins with `default` and the tenant's id, split before its end (facts A1.2).
fn of_default_environment(host: &str) -> Option<String> {
    let mut labels = host.split('.');
    let digits = format!(
        "{}{}",
        labels.next()?.strip_prefix("default")?,
        labels.next()?
    );
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    guid(&format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    ))
}

/// The URL and the method of a text.
fn extract(text: &str) -> Result<(String, Option<&'static str>), Unusable> {
    let text = text.trim().trim_start_matches('\u{feff}');
    if !text.is_empty() && !text.contains(char::is_whitespace) {
        let url = ['\'', '"']
            .iter()
            .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
            .unwrap_or(text);
        return if url.contains("://") {
            Ok((url.to_owned(), None))
        } else {
            Err(Unusable::NoUrl)
        };
    }
    // Lines go on after `\`, in cmd after `^`, in PowerShell after a backtick.
    let joined = ["\\", "^", "`"]
        .iter()
        .fold(text.replace("\r\n", "\n"), |text, end| {
            text.replace(&format!("{end}\n"), " ")
        });
    let words = shlex::split(&joined).ok_or(Unusable::Quotes)?;
    let url = words
        .iter()
        .map(|word| word.strip_prefix("--url=").unwrap_or(word))
        .find(|word| {
            let start: String = word.chars().take(8).collect();
            let start = start.to_ascii_lowercase();
            start.starts_with("https://") || start.starts_with("http://")
        })
        .ok_or(Unusable::NoUrl)?;
    if url
        .chars()
        .any(|letter| letter.is_control() || letter.is_whitespace())
    {
        return Err(Unusable::NotCallable);
    }
    let mut stated = None;
    let mut implied = None;
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).map(String::as_str);
        match word.as_str() {
            "-X" | "--request" | "-Method" => stated = next.and_then(method),
            "-G" | "--get" => implied = Some("GET"),
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--json" if implied.is_none() => {
                implied = Some("POST");
            }
            word => {
                let joined = word
                    .strip_prefix("--request=")
                    .or_else(|| word.strip_prefix("-X"));
                stated = stated.or(joined.and_then(method));
            }
        }
    }
    Ok((url.to_owned(), stated.or(implied)))
}

fn method(text: &str) -> Option<&'static str> {
    let mut known = Method::WORDS.iter().map(|(word, _)| *word);
    known.find(|word| word.eq_ignore_ascii_case(text))
}
