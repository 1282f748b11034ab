//! The page where users sign in (facts B1.9).
//!
//! In: an authorization request. Out: a redirect with `code` and `state`, or with `error`; a page that says why there can be no
//! redirect; or, while [`Person::AtTheKeyboard`], a page with one button for each user of the directory. Pressing it is password and
//! second factor in one: nothing here is protected, because nothing here is real.

use http::request::Parts;

use crate::aadsts::Refusal;
use crate::answer::Answer;
use crate::codes::Person;
use crate::directory::{App, User, Version};
use crate::entra::is_shared;
use crate::sessions::SignIn;
use crate::state::State;
use crate::token_endpoint::{policy, target_of};
use crate::{html, random};

/// An authorization request whose application and redirect are known, so that errors can travel.
struct Request<'a> {
    state: &'a State,
    head: &'a Parts,
    parameters: Vec<(String, String)>,
    version: Version,
    tenant: String,
    app: App,
    redirect: url::Url,
}

/// Answers one request; `posted` is the pressed button.
pub(crate) fn answer(state: &State, head: &Parts, posted: &[u8]) -> Answer {
    let query = head.uri.query().unwrap_or_default();
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut segments = head.uri.path().split('/').skip(1);
    let segment = segments.next().unwrap_or_default();
    let version = match segments.nth(1) {
        Some("v2.0") => Version::V2,
        _ => Version::V1,
    };
    let request = match Request::understood(state, head, parameters, version, segment) {
        Ok(request) => request,
        Err(refusal) => return html::refused(&refusal.description()),
    };
    let pressed = |name: &str| {
        url::form_urlencoded::parse(posted)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let person = match (pressed("user"), pressed("decline")) {
        (Some(user), _) => Person::User(user),
        (None, Some(_)) => Person::Declines,
        (None, None) => state.codes.person(),
    };
    let outcome = match person {
        Person::User(name) => request.signed_in(&name),
        Person::Declines => Err(Refusal::declined()),
        Person::AtTheKeyboard if request.parameter("prompt") == Some("none") => {
            Err(Refusal::silent())
        }
        Person::AtTheKeyboard => match request.checked() {
            Ok(()) => return request.page(),
            Err(refusal) => Err(refusal),
        },
    };
    request.redirected(outcome)
}

impl<'a> Request<'a> {
    fn understood(
        state: &'a State,
        head: &'a Parts,
        parameters: Vec<(String, String)>,
        version: Version,
        segment: &str,
    ) -> Result<Self, Refusal> {
        let parameter = |name: &str| {
            let found = parameters
                .iter()
                .find(|(key, value)| key == name && !value.is_empty());
            found
                .map(|(_, value)| value.clone())
                .ok_or_else(|| Refusal::missing(name))
        };
        let client = parameter("client_id")?;
        let tenant = if is_shared(segment) {
            // The user's own would be right; the first one that has the application represents it (simplified).
            let tenants = state.tenants();
            let found = tenants.iter().find(|tenant| tenant.app(&client).is_some());
            found
                .map(|tenant| tenant.id.clone())
                .ok_or_else(Refusal::no_tenant)?
        } else {
            state.tenant_id(segment)?
        };
        let app = {
            let tenants = state.tenants();
            let known = tenants.iter().find(|known| known.is_named(&tenant));
            known
                .and_then(|known| known.app(&client).cloned())
                .ok_or_else(|| Refusal::app_not_found(&client, &tenant))?
        };
        let text = parameter("redirect_uri")?;
        let redirect = url::Url::parse(&text)
            .ok()
            .filter(|url| is_registered(&app, url))
            .ok_or_else(|| Refusal::redirect_not_registered(&text, &client))?;
        Ok(Self {
            state,
            head,
            parameters,
            version,
            tenant,
            app,
            redirect,
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    fn checked(&self) -> Result<(), Refusal> {
        let kind = self.parameter("response_type").unwrap_or_default();
        let method = self.parameter("code_challenge_method").unwrap_or("plain");
        let challenged = self.parameter("code_challenge").is_some();
        if kind != "code" || (challenged && method != "S256") {
            return Err(Refusal::unsupported_response(kind));
        }
        target_of(
            self.state,
            self.head,
            &self.parameters,
            self.version,
            &self.app,
            &self.tenant,
        )
        .map(|_| ())
    }

    /// The code of a sign-in.
    fn signed_in(&self, name: &str) -> Result<String, Refusal> {
        self.checked()?;
        let target = target_of(
            self.state,
            self.head,
            &self.parameters,
            self.version,
            &self.app,
            &self.tenant,
        )?;
        let user = policy::user(self.state, &self.tenant, name)?;
        policy::admits(&user, &self.app, true, &target.name)?;
        let sign_in = SignIn {
            tenant: self.tenant.clone(),
            client: self.app.client_id.clone(),
            user: user.object_id,
            methods: vec!["pwd", "mfa"],
            password: Some(user.password),
            asked: target.asked,
            nonce: self.parameter("nonce").map(ToOwned::to_owned),
        };
        let challenge = self.parameter("code_challenge").map(ToOwned::to_owned);
        let redirect = self.parameter("redirect_uri").unwrap_or_default();
        Ok(self
            .state
            .codes
            .put(sign_in, redirect, challenge, self.state.now()))
    }

    fn redirected(&self, outcome: Result<String, Refusal>) -> Answer {
        let mut fields: Vec<(&str, String)> = match outcome {
            Ok(code) => vec![("code", code), ("session_state", random::guid())],
            Err(refusal) => vec![
                ("error", refusal.name().to_owned()),
                ("error_description", refusal.description()),
            ],
        };
        if let Some(state) = self.parameter("state") {
            fields.push(("state", state.to_owned()));
        }
        let mut target = self.redirect.clone();
        match self.parameter("response_mode") {
            Some("form_post") => return html::posted(target.as_str(), &fields),
            Some("fragment") => {
                let text = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(&fields)
                    .finish();
                target.set_fragment(Some(&text));
            }
            _ => {
                target.query_pairs_mut().extend_pairs(&fields);
            }
        }
        Answer::new(302).with("location", target.as_str())
    }

    /// One button for each user, the hinted one first.
    fn page(&self) -> Answer {
        let hint = self.parameter("login_hint").unwrap_or_default();
        let mut users: Vec<User> = {
            let tenants = self.state.tenants();
            let tenant = tenants.iter().find(|known| known.is_named(&self.tenant));
            tenant
                .map(|tenant| tenant.users.clone())
                .unwrap_or_default()
        };
        users.sort_by_key(|user| !user.name.eq_ignore_ascii_case(hint));
        html::sign_in(&self.app.name, &users, None)
    }
}

/// Registered as it is; or below a registered loopback address, on any port (facts B1.9).
fn is_registered(app: &App, redirect: &url::Url) -> bool {
    app.redirect_uris.iter().any(|known| {
        let Ok(known) = url::Url::parse(known) else {
            return false;
        };
        let loopback = matches!(known.host_str(), Some("localhost" | "127.0.0.1"));
        known == *redirect
            || (loopback
                && known.scheme() == redirect.scheme()
                && known.host_str() == redirect.host_str())
    })
}
