//! Where a flow's calls go, and what its credential is asked for.
//!
//! In: the flow's `url`, `kind`, `scope`, `resource`, and its credential. Out: the URL as it is called, what answers there, and the ask. Refuses
//! plain http off loopback, a trigger URL that was cut short, a trigger without any authentication, another cloud's tokens, and
//! Microsoft tokens on their way to a host that is not Microsoft's (facts A1.3, A1.5, A1.6, A2.2; security rule 21).

use std::net::SocketAddr;

use super::super::problem::{Spot, say};
use super::super::raw::{self, Cloud, Endpoint};
use super::super::read::{At, Field};
use super::super::values::{Choice, OneOrMore, Text};
use super::credentials::{Credentials, Entra, Manner};
use super::flows::Chosen;
use super::{Defaults, Ground, asks, clouds};
use crate::credential::Ask;
use crate::flow::url::Invalid;
use crate::flow::{Kind, Trigger, TriggerUrl, trigger};

/// What a flow's entry says about its target.
pub struct Wish {
    /// `url:`.
    pub url: Option<At<raw::Source>>,
    /// `kind:`.
    pub kind: Field<Choice<raw::Kind>>,
    /// `scope:`.
    pub scope: Field<OneOrMore<Text>>,
    /// `resource:`.
    pub resource: Field<Text>,
    /// `allow_host: true`.
    pub allow_host: bool,
}

/// Where calls go.
pub struct Target {
    /// The URL, without its signature where a token is sent instead.
    pub url: TriggerUrl,
    /// Whose error catalogue applies.
    pub kind: Kind,
    /// The audience a Power Automate flow of this cloud demands; Logic Apps choose their own.
    pub audience: Option<String>,
    /// Which credential asks for what.
    pub credential: Option<(usize, Ask)>,
}

/// Judges a flow's target.
pub fn judge(
    ground: &mut Ground<'_>,
    wish: Wish,
    credential: &Chosen,
    credentials: &Credentials,
    defaults: &Defaults,
    trigger: Option<&Trigger>,
    listen: Option<SocketAddr>,
) -> Option<Target> {
    let (index, manner) = match credential {
        Chosen::One(index, ..) => (
            Some(*index),
            credentials
                .0
                .get(*index)
                .and_then(|one| one.manner.as_ref()),
        ),
        Chosen::None | Chosen::Broken => (None, None),
    };
    let Wish {
        url: wished_url,
        kind,
        scope,
        resource,
        allow_host,
    } = wish;
    let asking = scope
        .as_ref()
        .map(|at| &at.spot)
        .or(resource.as_ref().map(|at| &at.spot));
    if let Some(spot) = asking
        && nothing_to_ask(ground, spot, credential, manner)
    {
        return None;
    }
    let own_ask = match manner {
        Some(manner) => asks::explicit(ground, scope, resource, manner.entra),
        None => Some(None),
    };
    let wished_url = wished_url?;
    let spot = wished_url.spot.clone();
    let url = address(ground, &wished_url)?;
    if let Some(listen) = listen {
        not_ourselves(ground, &spot, &url, listen);
    }
    let stated = match kind {
        Field::Broken => return None,
        field => field.given().map(|at| at.value.0),
    };
    let is_trigger = match stated {
        Some(raw::Kind::PowerAutomate | raw::Kind::LogicApp) => true,
        Some(raw::Kind::Other) => false,
        None => url.is_trigger() || trigger.is_some_and(|trigger| trigger.mode.is_some()),
    };
    let cloud = manner
        .and_then(|manner| manner.entra)
        .map(|entra| entra.cloud)
        .or(defaults.entra.cloud.as_ref().map(|at| at.value.0));
    if is_trigger {
        trigger_url(ground, &spot, &url, credential, trigger);
        retired(ground, &spot, &url, stated, cloud);
    }
    let url = unsigned(ground, &spot, url, credential);
    let kind = if is_trigger {
        Kind::Trigger
    } else {
        Kind::Other
    };
    let audience = (is_trigger && stated != Some(raw::Kind::LogicApp))
        .then(|| cloud.map(|cloud| clouds::flow_audience(cloud).to_owned()))
        .flatten();
    let Some(index) = index else {
        return Some(Target {
            url,
            kind,
            audience,
            credential: None,
        });
    };
    let (manner, own_ask) = (manner?, own_ask?);
    let stated = own_ask.is_some() || manner.ask.is_some() || manner.entra.is_none();
    let ask = asked(ground, &spot, url.host(), manner, own_ask)?;
    let allowed = guard_host(ground, &spot, url.host(), &ask, allow_host);
    if allowed && !stated && !is_trigger {
        guessed(ground, &spot, url.host(), &ask);
    }
    Some(Target {
        url,
        kind,
        audience,
        credential: Some((index, ask)),
    })
}

/// The URL, as far as one could be called.
fn address(ground: &mut Ground<'_>, wished: &At<raw::Source>) -> Option<TriggerUrl> {
    let spot = &wished.spot;
    let plain = matches!(wished.value.0, crate::secret::Source::Plain(_));
    let text = ground.secret(wished, false)?;
    let url = TriggerUrl::parse(text.expose().trim())
        .map_err(|reason| invalid(ground, spot, reason))
        .ok()?;
    reachable(ground, spot, url.host(), port_of(&url)).then_some(())?;
    if plain && url.signed() {
        ground.reader.warn_at(
            spot,
            say!("a URL with `sig=` is a secret, and stands here in plain text"),
            say!("move it out: {{ env: NAME }} or {{ file: PATH }}"),
        );
    }
    if url.plain() && !ground.plain_allowed(url.host()) {
        ground.plain_refused(spot);
    }
    Some(url)
}

/// The port a URL names; 0 where that is none.
fn port_of(url: &TriggerUrl) -> Option<u16> {
    let authority = url.uri().authority()?;
    let text = authority.as_str().strip_prefix(authority.host())?;
    let port = text.strip_prefix(':')?;
    Some(port.parse().unwrap_or(0))
}

/// Whether a connection to such a host and port could ever be tried.
pub fn reachable(ground: &mut Ground<'_>, spot: &Spot, host: &str, port: Option<u16>) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if rustls::pki_types::ServerName::try_from(literal).is_err() {
        ground.reader.error_at(
            spot,
            say!("no server can have this host name"),
            say!("write the name as the server's certificate has it, without * and blanks"),
        );
        return false;
    }
    if port == Some(0) {
        ground.reader.error_at(
            spot,
            say!("nobody can be reached at this port"),
            say!("write a port from 1 to 65535, or leave it out"),
        );
        return false;
    }
    true
}

/// Whether `scope:` or `resource:` stand where nobody can ask.
fn nothing_to_ask(
    ground: &mut Ground<'_>,
    spot: &Spot,
    credential: &Chosen,
    manner: Option<&Manner>,
) -> bool {
    if matches!(credential, Chosen::None) {
        ground.reader.error_at(
            spot,
            say!("there is no credential that could ask for this"),
            say!("name one with `credential:`, or leave this out"),
        );
        // The rest of the flow is judged all the same.
        return false;
    }
    let fixed = manner.is_some_and(|manner| manner.fixed);
    if fixed {
        ground.reader.error_at(
            spot,
            say!("a `bearer` credential has one token: nothing can be asked for"),
            say!("leave this out, or use a kind of credential that obtains tokens"),
        );
    }
    fixed
}

/// A flow at the gateway's own port would call itself until every place is taken.
fn not_ourselves(ground: &mut Ground<'_>, spot: &Spot, url: &TriggerUrl, listen: SocketAddr) {
    let own = url.uri().port_u16() == Some(listen.port()) && clouds::loopback(url.host());
    if own && (listen.ip().is_loopback() || listen.ip().is_unspecified()) {
        ground.reader.error_at(
            spot,
            say!("this is the gateway's own address: the call would come back to it"),
            say!("give the URL of the flow itself"),
        );
    }
}

fn invalid(ground: &mut Ground<'_>, spot: &Spot, reason: Invalid) {
    let (message, cure) = match reason {
        Invalid::NotAbsolute => (
            say!("this is not a URL"),
            say!("copy the trigger's whole URL, beginning with https://"),
        ),
        Invalid::UserInfo => (
            say!("a user or password stands before the host"),
            say!("leave it out: how the gateway proves itself is a credential's business"),
        ),
        Invalid::Fragment => (
            say!("a URL that is called has no #"),
            say!("leave everything from # on out"),
        ),
        Invalid::Path => (
            say!("the path has `.`, `..` or a backslash"),
            say!("write the path as the server has it"),
        ),
    };
    ground.reader.error_at(spot, message, cure);
}

/// What every trigger URL needs (facts A1.5).
fn trigger_url(
    ground: &mut Ground<'_>,
    spot: &Spot,
    url: &TriggerUrl,
    credential: &Chosen,
    trigger: Option<&Trigger>,
) {
    if !url.parameter("api-version") {
        ground.reader.error_at(
            spot,
            say!("a trigger's URL has `api-version` in its query, this one has none"),
            say!("copy the whole URL; a shell cuts it at & unless it is quoted"),
        );
    }
    // Who knows the mode has been told about the missing credential already.
    let mode = trigger.and_then(|trigger| trigger.mode);
    let told = matches!(mode, Some(trigger::Mode::Tenant | trigger::Mode::Users));
    if matches!(credential, Chosen::None) && !url.signed() && !told {
        ground.reader.error_at(
            spot,
            say!("the URL has no signature (sig=), and the flow has no credential"),
            say!("name a credential; a flow for anyone has sp, sv and sig in its URL"),
        );
    }
}

/// `*.logic.azure.com` stopped working for flows of the public cloud (facts A1.3).
fn retired(
    ground: &mut Ground<'_>,
    spot: &Spot,
    url: &TriggerUrl,
    stated: Option<raw::Kind>,
    cloud: Option<Cloud>,
) {
    let host = url.host().to_ascii_lowercase();
    let old = host == "logic.azure.com" || host.ends_with(".logic.azure.com");
    if old && cloud == Some(Cloud::Public) && stated != Some(raw::Kind::LogicApp) {
        ground.reader.warn_at(
            spot,
            say!("flows of the public cloud no longer answer at logic.azure.com"),
            say!("copy the new URL from the flow's trigger; for an Azure Logic App write kind: logic_app"),
        );
    }
}

/// A token and a signature together are refused by the service (facts A1.6): the token wins, and that is said.
fn unsigned(
    ground: &mut Ground<'_>,
    spot: &Spot,
    url: TriggerUrl,
    credential: &Chosen,
) -> TriggerUrl {
    let Chosen::One(_, inherited) = credential else {
        return url;
    };
    if !url.signed() {
        return url;
    }
    let cure = if *inherited {
        say!(
            "write credential: none to use the signature (defaults.flow.credential applies), or take sp, sv and sig out of the URL"
        )
    } else {
        say!("take sp, sv and sig out of the URL, or the credential off the flow")
    };
    ground.reader.warn_at(
        spot,
        say!("the URL's own signature is dropped, because the flow has a credential"),
        cure,
    );
    url.unsigned()
}

/// What the token is asked for: the flow's word, else the credential's, else what the host wants.
fn asked(
    ground: &mut Ground<'_>,
    spot: &Spot,
    host: &str,
    manner: &Manner,
    own: Option<Ask>,
) -> Option<Ask> {
    let Some(Entra {
        cloud, endpoint, ..
    }) = manner.entra
    else {
        return own.or_else(|| manner.ask.clone());
    };
    let known = clouds::known(host);
    if let Some(known) = known
        && !known.clouds.is_empty()
        && !known.clouds.contains(&cloud)
    {
        let names: Vec<&'static str> = known.clouds.iter().copied().map(clouds::name).collect();
        ground.reader.error_at(
            spot,
            say!(
                "this host belongs to another cloud than the credential ({})",
                clouds::name(cloud)
            ),
            say!(
                "set cloud: {} on the credential or under defaults.entra",
                super::super::suggest::listed(&names)
            ),
        );
        return None;
    }
    let ask = own
        .or_else(|| manner.ask.clone())
        .unwrap_or_else(|| asks::of(clouds::audience(host, cloud), endpoint));
    other_cloud(ground, spot, &ask, known, cloud, endpoint).then_some(ask)
}

/// Warns of a token that is asked for the flow service because nothing better is known.
fn guessed(ground: &mut Ground<'_>, spot: &Spot, host: &str, ask: &Ask) {
    if clouds::known(host).is_some_and(clouds::Host::is_told) {
        return;
    }
    let key = match ask {
        Ask::Scope(_) => say!("`scope:`, e.g. scope: https://graph.microsoft.com/.default"),
        Ask::Resource(_) | Ask::Both { .. } => {
            say!("`resource:`, e.g. resource: https://graph.microsoft.com")
        }
    };
    ground.reader.warn_at(
        spot,
        say!("nobody knows what this host wants: its token is asked for the flow service"),
        say!(
            "say what it wants with {}; where a flow answers there, write kind: power_automate",
            key
        ),
    );
}

/// The flow service of another cloud than the host's never fits.
fn other_cloud(
    ground: &mut Ground<'_>,
    spot: &Spot,
    ask: &Ask,
    known: Option<&clouds::Host>,
    cloud: Cloud,
    endpoint: Endpoint,
) -> bool {
    let flows = known.is_some_and(|host| host.service == clouds::Service::Flows);
    let wrong = clouds::ALL.into_iter().any(|other| {
        clouds::flow_audience(other) != clouds::flow_audience(cloud)
            && asks::of(clouds::flow_audience(other), endpoint) == *ask
    });
    let right = asks::of(clouds::flow_audience(cloud), endpoint);
    let automate = flows && known.is_some_and(|host| !host.clouds.is_empty());
    if automate && !wrong && *ask != right {
        ground.reader.warn_at(
            spot,
            say!("Power Automate is not known to accept any audience but the flow service's"),
            say!("leave `scope` and `resource` out, here and on the credential"),
        );
    }
    if flows && wrong {
        let cure = match right {
            Ask::Scope(_) => say!(
                "write scope: {}/.default, or leave `scope` out",
                clouds::flow_audience(cloud)
            ),
            Ask::Resource(_) | Ask::Both { .. } => say!(
                "write resource: {}, or leave `resource` out",
                clouds::flow_audience(cloud)
            ),
        };
        ground.reader.error_at(
            spot,
            say!("the token would be asked for the flow service of another cloud"),
            cure,
        );
        return false;
    }
    true
}

/// A token for Microsoft's services must not travel to somebody else's host (security rule 21).
fn guard_host(ground: &mut Ground<'_>, spot: &Spot, host: &str, ask: &Ask, allowed: bool) -> bool {
    let at_home = clouds::known(host).is_some() || clouds::loopback(host);
    let asked = [ask.scope(), ask.resource()];
    let away = asked.into_iter().flatten().any(clouds::microsofts) && !at_home && !allowed;
    if away {
        ground.reader.error_at(
            spot,
            say!("a token for a Microsoft service would be sent to a host that is not Microsoft's"),
            say!("correct the host; say what the host wants with `scope:`; or write allow_host: true if that is meant"),
        );
    }
    !away
}
