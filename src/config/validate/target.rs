//! Where a flow's calls go, and what its credential is asked for.
//!
//! In: the flow's `url`, `kind`, `scope`, `resource`, and its credential. Out: the URL as it is called, what answers there, and the ask. Refuses
//! plain http off loopback, a trigger URL that was cut short, a trigger without any authentication, another cloud's tokens, and
//! Microsoft tokens on their way to a host that is not Microsoft's (facts A1.3, A1.5, A1.6, A2.2; security rule 21).

use crate::clouds::Cloud;
use crate::credential::ask::{Entra, TokenRequestStyle};
use crate::validation::entra::Endpoint;
use crate::validation::{ValidationContext, reference};
use std::net::SocketAddr;

use super::chosen::Chosen;
use super::credentials::Credentials;
use crate::clouds;
use crate::config::raw;
use crate::credential::Ask;
use crate::credential::ask;
use crate::flow::url::Invalid;
use crate::flow::{Kind, Trigger, TriggerUrl, trigger};
use settings::problem::SourceLocation;
use settings::read::{At, Field};
use settings::safe_text;
use settings::values::{Choice, OneOrMore, Text};

/// What a flow's entry says about its target.
pub struct Wish {
    /// `url:`.
    pub url: Option<At<reference::Source>>,
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

/// Validates a flow's target.
pub fn validate(
    context: &mut ValidationContext<'_>,
    wish: Wish,
    credential: &Chosen,
    credentials: &Credentials,
    trigger: Option<&Trigger>,
    listen: Option<SocketAddr>,
) -> Option<Target> {
    let (index, style) = match credential {
        Chosen::One(index, ..) => (
            Some(*index),
            credentials.0.get(*index).and_then(|one| one.style.as_ref()),
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
        .map(|at| &at.location)
        .or(resource.as_ref().map(|at| &at.location));
    if let Some(location) = asking
        && nothing_to_ask(context, location, credential, style)
    {
        return None;
    }
    let own_ask = match style {
        Some(style) => ask::explicit(context, scope, resource, style.entra),
        None => Some(None),
    };
    let wished_url = wished_url?;
    let location = wished_url.location.clone();
    let url = address(context, &wished_url)?;
    if let Some(listen) = listen {
        not_ourselves(context, &location, &url, listen);
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
    let cloud = style
        .and_then(|style| style.entra)
        .map(|entra| entra.cloud)
        .or(context.entra.cloud.as_ref().map(|at| at.value.0));
    if is_trigger {
        trigger_url(context, &location, &url, credential, trigger);
        retired(context, &location, &url, stated, cloud);
    }
    let url = unsigned(context, &location, url, credential);
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
    let (style, own_ask) = (style?, own_ask?);
    let stated = own_ask.is_some() || style.ask.is_some() || style.entra.is_none();
    let ask = asked(context, &location, url.host(), style, own_ask)?;
    let allowed = guard_host(context, &location, url.host(), &ask, allow_host);
    if allowed && !stated && !is_trigger {
        guessed(context, &location, url.host(), &ask);
    }
    Some(Target {
        url,
        kind,
        audience,
        credential: Some((index, ask)),
    })
}

/// The URL, as far as one could be called.
fn address(
    context: &mut ValidationContext<'_>,
    wished: &At<reference::Source>,
) -> Option<TriggerUrl> {
    let location = &wished.location;
    let plain = matches!(wished.value.0, crate::secret::Source::Plain(_));
    let text = context.secret(wished, false)?;
    let url = TriggerUrl::parse(text.expose().trim())
        .map_err(|reason| invalid(context, location, reason))
        .ok()?;
    crate::validation::url::reachable(context, location, url.host(), port_of(&url)).then_some(())?;
    if plain && url.signed() {
        context.reader.warn_at(
            location,
            safe_text!("a URL with `sig=` is a secret, and is here in plain text"),
            safe_text!("move it out: {{ env: NAME }} or {{ file: PATH }}"),
        );
    }
    if url.plain() && !context.plain_allowed(url.host()) {
        context.plain_refused(location);
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

/// Whether `scope:` or `resource:` are where nobody can ask.
fn nothing_to_ask(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    credential: &Chosen,
    style: Option<&TokenRequestStyle>,
) -> bool {
    if matches!(credential, Chosen::None) {
        context.reader.error_at(
            location,
            safe_text!("there is no credential that could ask for this"),
            safe_text!("name one with `credential:`, or leave this out"),
        );
        // The rest of the flow is validated all the same.
        return false;
    }
    let fixed = style.is_some_and(|style| style.fixed);
    if fixed {
        context.reader.error_at(
            location,
            safe_text!("a `bearer` credential has one token: nothing can be asked for"),
            safe_text!("leave this out, or use a kind of credential that obtains tokens"),
        );
    }
    fixed
}

/// A flow at the gateway's own port would call itself until every place is taken.
fn not_ourselves(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    url: &TriggerUrl,
    listen: SocketAddr,
) {
    let own = url.uri().port_u16() == Some(listen.port()) && clouds::loopback(url.host());
    if own && (listen.ip().is_loopback() || listen.ip().is_unspecified()) {
        context.reader.error_at(
            location,
            safe_text!("this is the gateway's own address: the call would come back to it"),
            safe_text!("give the URL of the flow itself"),
        );
    }
}

fn invalid(context: &mut ValidationContext<'_>, location: &SourceLocation, reason: Invalid) {
    let (message, fix) = match reason {
        Invalid::NotAbsolute => (
            safe_text!("this is not a URL"),
            safe_text!("copy the trigger's whole URL, beginning with https://"),
        ),
        Invalid::UserInfo => (
            safe_text!("a user or password is before the host"),
            safe_text!("leave it out: how the gateway proves itself is a credential's business"),
        ),
        Invalid::Fragment => (
            safe_text!("a URL that is called has no #"),
            safe_text!("leave everything from # on out"),
        ),
        Invalid::Path => (
            safe_text!("the path has `.`, `..` or a backslash"),
            safe_text!("write the path as the server has it"),
        ),
    };
    context.reader.error_at(location, message, fix);
}

/// What every trigger URL needs (facts A1.5).
fn trigger_url(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    url: &TriggerUrl,
    credential: &Chosen,
    trigger: Option<&Trigger>,
) {
    if !url.parameter("api-version") {
        context.reader.error_at(
            location,
            safe_text!("a trigger's URL has `api-version` in its query, this one has none"),
            safe_text!("copy the whole URL; a shell cuts it at & unless it is quoted"),
        );
    }
    // With a known mode, the missing credential has been reported already.
    let mode = trigger.and_then(|trigger| trigger.mode);
    let prescribed = matches!(mode, Some(trigger::Mode::Tenant | trigger::Mode::Users));
    if matches!(credential, Chosen::None) && !url.signed() && !prescribed {
        context.reader.error_at(
            location,
            safe_text!("the URL has no signature (sig=), and the flow has no credential"),
            safe_text!("name a credential; a flow for anyone has sp, sv and sig in its URL"),
        );
    }
}

/// `*.logic.azure.com` stopped working for flows of the public cloud (facts A1.3).
fn retired(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    url: &TriggerUrl,
    stated: Option<raw::Kind>,
    cloud: Option<Cloud>,
) {
    let host = url.host().to_ascii_lowercase();
    let old = host == "logic.azure.com" || host.ends_with(".logic.azure.com");
    if old && cloud == Some(Cloud::Public) && stated != Some(raw::Kind::LogicApp) {
        context.reader.warn_at(
            location,
            safe_text!("flows of the public cloud no longer answer at logic.azure.com"),
            safe_text!("copy the new URL from the flow's trigger; for an Azure Logic App write kind: logic_app"),
        );
    }
}

/// A token and a signature together are refused by the service (facts A1.6): the token wins, and that is said.
fn unsigned(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    url: TriggerUrl,
    credential: &Chosen,
) -> TriggerUrl {
    let Chosen::One(_, inherited) = credential else {
        return url;
    };
    if !url.signed() {
        return url;
    }
    let fix = if *inherited {
        safe_text!(
            "write credential: none to use the signature (defaults.flow.credential applies), or take sp, sv and sig out of the URL"
        )
    } else {
        safe_text!("take sp, sv and sig out of the URL, or the credential off the flow")
    };
    context.reader.warn_at(
        location,
        safe_text!("the URL's own signature is dropped, because the flow has a credential"),
        fix,
    );
    url.unsigned()
}

/// What the token is asked for: the flow's word, else the credential's, else what the host wants.
fn asked(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    host: &str,
    style: &TokenRequestStyle,
    own: Option<Ask>,
) -> Option<Ask> {
    let Some(Entra {
        cloud, endpoint, ..
    }) = style.entra
    else {
        return own.or_else(|| style.ask.clone());
    };
    let known = clouds::known(host);
    if let Some(known) = known
        && !known.clouds.is_empty()
        && !known.clouds.contains(&cloud)
    {
        let names: Vec<&'static str> = known.clouds.iter().copied().map(clouds::name).collect();
        context.reader.error_at(
            location,
            safe_text!(
                "this host belongs to another cloud than the credential ({})",
                clouds::name(cloud)
            ),
            safe_text!(
                "set cloud: {} on the credential or under defaults.entra",
                settings::suggest::listed(&names)
            ),
        );
        return None;
    }
    let ask = own
        .or_else(|| style.ask.clone())
        .unwrap_or_else(|| ask::of(clouds::audience(host, cloud), endpoint));
    other_cloud(context, location, &ask, known, cloud, endpoint).then_some(ask)
}

/// Warns of a token that is asked for the flow service because nothing better is known.
fn guessed(context: &mut ValidationContext<'_>, location: &SourceLocation, host: &str, ask: &Ask) {
    if clouds::known(host).is_some_and(clouds::Host::is_told) {
        return;
    }
    let key = match ask {
        Ask::Scope(_) => safe_text!("`scope:`, e.g. scope: https://graph.microsoft.com/.default"),
        Ask::Resource(_) | Ask::Both { .. } => {
            safe_text!("`resource:`, e.g. resource: https://graph.microsoft.com")
        }
    };
    context.reader.warn_at(
        location,
        safe_text!("nobody knows what this host wants: its token is asked for the flow service"),
        safe_text!(
            "say what it wants with {}; where a flow answers there, write kind: power_automate",
            key
        ),
    );
}

/// The flow service of another cloud than the host's never fits.
fn other_cloud(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    ask: &Ask,
    known: Option<&clouds::Host>,
    cloud: Cloud,
    endpoint: Endpoint,
) -> bool {
    let flows = known.is_some_and(|host| host.service == clouds::Service::Flows);
    let wrong = clouds::ALL.into_iter().any(|other| {
        clouds::flow_audience(other) != clouds::flow_audience(cloud)
            && ask::of(clouds::flow_audience(other), endpoint) == *ask
    });
    let right = ask::of(clouds::flow_audience(cloud), endpoint);
    let automate = flows && known.is_some_and(|host| !host.clouds.is_empty());
    if automate && !wrong && *ask != right {
        context.reader.warn_at(
            location,
            safe_text!("Power Automate is not known to accept any audience but the flow service's"),
            safe_text!("leave `scope` and `resource` out, here and on the credential"),
        );
    }
    if flows && wrong {
        let fix = match right {
            Ask::Scope(_) => safe_text!(
                "write scope: {}/.default, or leave `scope` out",
                clouds::flow_audience(cloud)
            ),
            Ask::Resource(_) | Ask::Both { .. } => safe_text!(
                "write resource: {}, or leave `resource` out",
                clouds::flow_audience(cloud)
            ),
        };
        context.reader.error_at(
            location,
            safe_text!("the token would be asked for the flow service of another cloud"),
            fix,
        );
        return false;
    }
    true
}

/// A token for Microsoft's services must not travel to somebody else's host (security rule 21).
fn guard_host(
    context: &mut ValidationContext<'_>,
    location: &SourceLocation,
    host: &str,
    ask: &Ask,
    allowed: bool,
) -> bool {
    let at_home = clouds::known(host).is_some() || clouds::loopback(host);
    let asked = [ask.scope(), ask.resource()];
    let away = asked.into_iter().flatten().any(clouds::microsofts) && !at_home && !allowed;
    if away {
        context.reader.error_at(
            location,
            safe_text!("a token for a Microsoft service would be sent to a host that is not Microsoft's"),
            safe_text!("correct the host; say what the host wants with `scope:`; or write allow_host: true if that is meant"),
        );
    }
    !away
}
