//! Does a signed assertion prove the client?
//!
//! In: `client_assertion`. With a thumbprint in its header, or the client as its issuer, it is signed with a registered certificate
//! (facts B1.4); otherwise it is another provider's token (B1.5). Out: nothing, or 50012, 700023, 700024, 700027, 700030, 70021,
//! 700211–700213. `nbf` and `exp` may be numbers or strings, and thumbprints any Base64: clients of Microsoft's own differ there.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::aadsts::Refusal;
use crate::directory::{App, Certificate};
use crate::state::State;
use crate::token_endpoint::Request;
use crate::token_endpoint::client::Proof;

const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Tolerance of times, in seconds: Microsoft's own libraries' default (facts B3.2); that it holds here is inferred.
const SKEW: u64 = 300;

/// The longest life of an assertion a client signs itself, in seconds. Microsoft's own clients keep it; that it is enforced is inferred.
const LONGEST: u64 = 600;

/// An assertion, taken apart but not believed.
struct Assertion<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    message: &'a [u8],
    signature: Vec<u8>,
}

impl Request<'_> {
    /// How the assertion proves `app`.
    pub(super) fn asserted(&self, app: &App, assertion: &str) -> Result<Proof, Refusal> {
        if self.needed("client_assertion_type")? != KIND {
            return Err(Refusal::malformed());
        }
        let parsed = Assertion::parsed(assertion)
            .ok_or_else(|| Refusal::bad_client_assertion("the assertion is malformed"))?;
        if parsed.header.contains_key("x5t")
            || parsed.header.contains_key("x5t#S256")
            || parsed.claim("iss").eq_ignore_ascii_case(&app.client_id)
        {
            let endpoint = format!("{}{}", self.state.origin, self.head.uri.path());
            parsed.of_certificate(app, &endpoint, self.state.now())?;
        } else {
            parsed.of_provider(app, self.state)?;
        }
        Ok(Proof::Assertion)
    }
}

impl<'a> Assertion<'a> {
    fn parsed(text: &'a str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: json(header)?,
            claims: json(payload)?,
            message: message.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Signed by the client, with a certificate registered on it.
    fn of_certificate(&self, app: &App, endpoint: &str, now: u64) -> Result<(), Refusal> {
        let certificate = self.certificate(app)?;
        if certificate.not_after() <= now {
            return Err(Refusal::expired_certificate());
        }
        if !self.is_signed_by(certificate.key()) {
            return Err(Refusal::bad_assertion_signature());
        }
        let of_client = |name: &str| self.claim(name).eq_ignore_ascii_case(&app.client_id);
        if !of_client("iss") || !of_client("sub") {
            return Err(Refusal::assertion_of_another_client());
        }
        if self.claim("aud") != endpoint {
            return Err(Refusal::bad_client_assertion(
                "its audience is not this token endpoint",
            ));
        }
        let (begin, end) = self.in_time(now)?;
        if end.saturating_sub(begin) > LONGEST {
            return Err(Refusal::assertion_out_of_time());
        }
        Ok(())
    }

    /// The registered certificate it names; or its own, of a subject that is trusted.
    fn certificate(&self, app: &App) -> Result<Certificate, Refusal> {
        let named = |name: &str| {
            self.header
                .get(name)
                .and_then(Value::as_str)
                .and_then(any_base64)
        };
        let (sha256, sha1) = (named("x5t#S256"), named("x5t"));
        let registered = app.certificates.iter().find(|known| {
            sha256.as_deref() == Some(known.sha256())
                || (sha256.is_none() && sha1.as_deref() == Some(known.sha1()))
        });
        if let Some(known) = registered {
            return Ok(known.clone());
        }
        let chain = self.header.get("x5c").and_then(Value::as_array);
        let leaf = chain.and_then(|chain| {
            Certificate::from_der(&STANDARD.decode(chain.first()?.as_str()?).ok()?)
        });
        match leaf {
            // The chain above the leaf is not checked here, as it would be there (simplified).
            Some(leaf)
                if app
                    .trusted_subjects
                    .iter()
                    .any(|name| name == leaf.subject()) =>
            {
                Ok(leaf)
            }
            Some(_) if !app.trusted_subjects.is_empty() => Err(Refusal::untrusted_subject()),
            _ => Err(Refusal::unknown_certificate()),
        }
    }

    /// A token of another provider, for which the application has a federated identity credential. In which order mismatches are reported
    /// is inferred.
    fn of_provider(&self, app: &App, state: &State) -> Result<(), Refusal> {
        if app.federated.is_empty() {
            return Err(Refusal::not_federated(70021, ""));
        }
        let (issuer, subject, audience) = (self.claim("iss"), self.claim("sub"), self.claim("aud"));
        let of_issuer = || app.federated.iter().filter(|known| known.issuer == issuer);
        if of_issuer().next().is_none() {
            return Err(Refusal::not_federated(700_211, issuer));
        }
        let of_subject = || of_issuer().filter(|known| known.subject == subject);
        if of_subject().next().is_none() {
            return Err(Refusal::not_federated(700_213, subject));
        }
        let known = of_subject()
            .find(|known| known.audience == audience)
            .ok_or_else(|| Refusal::not_federated(700_212, audience))?;
        let signed = match &known.key {
            Some(key) => self.is_signed_by(key),
            None => state.cluster_key().is_some_and(|key| {
                self.text("alg") == "RS256" && key.verifies(self.message, &self.signature)
            }),
        };
        if !signed {
            return Err(Refusal::bad_assertion_signature());
        }
        self.in_time(state.now()).map(|_| ())
    }

    fn is_signed_by(&self, key: &crate::directory::PublicKey) -> bool {
        key.verifies(self.text("alg"), self.message, &self.signature)
    }

    /// Begin and end, if now is between them.
    fn in_time(&self, now: u64) -> Result<(u64, u64), Refusal> {
        let end = self
            .time("exp")
            .ok_or_else(Refusal::assertion_out_of_time)?;
        let begin = self.time("nbf").or_else(|| self.time("iat")).unwrap_or(now);
        if now >= end.saturating_add(SKEW) || begin > now.saturating_add(SKEW) {
            return Err(Refusal::assertion_out_of_time());
        }
        Ok((begin, end))
    }

    fn claim(&self, name: &str) -> &str {
        let value = match self.claims.get(name) {
            // A cluster writes its one audience as a list.
            Some(Value::Array(values)) if values.len() == 1 => values.first(),
            value => value,
        };
        value.and_then(Value::as_str).unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        let value = self.header.get(name);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    fn time(&self, name: &str) -> Option<u64> {
        match self.claims.get(name)? {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        }
    }
}

fn any_base64(text: &str) -> Option<Vec<u8>> {
    [URL_SAFE_NO_PAD, URL_SAFE, STANDARD_NO_PAD, STANDARD]
        .iter()
        .find_map(|alphabet| alphabet.decode(text).ok())
}
