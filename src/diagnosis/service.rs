//! Error codes of the service that runs flows (facts A3), keyed by code and message.
//!
//! In: status and body of an answer. Out: the catalogue's entry; of an answer that names a run only one that says that the run did not
//! answer. Whether an entry was observed on the wire or only reported is beside it, with the tag of the facts: `[W]` captured, `[D]`
//! documented, `[C]` reported, `[I]` inferred.

use serde::Deserialize;

/// What an answer of the service comes to, for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The gateway's request or credential is not what the flow wants.
    RejectedGateway,
    /// The flow does not exist (any more).
    NotFound,
    /// The flow is turned off, suspended or deleted.
    Disabled,
    /// The run ended without an answer.
    NoResponse,
    /// The run did not answer within the service's own limit; it may go on.
    Timeout,
    /// The caller's body is not what its content type says.
    BodyInvalid,
    /// The caller's body does not fit the trigger's schema.
    SchemaMismatch,
    /// Too many calls.
    Throttled,
}

/// Whether a fresh token can heal what a flow said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It cannot.
    Never,
    /// It can: the call may be sent once more.
    Replay,
    /// Not this call; but a token with newer claims may serve later ones.
    Later,
}

/// One entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The service's code, as metrics and log carry it.
    pub code: &'static str,
    /// Words of the message that distinguish two meanings of one code; empty: any message.
    pub message: &'static str,
    /// What it comes to.
    pub verdict: Verdict,
    /// Whether a fresh token can heal it (design decision 5).
    pub renewal: Renewal,
    /// Meaning and fix, for the log.
    pub fix: &'static str,
}

/// Claims that the flow does not admit: what of them differs may be known.
pub const MISMATCH: &str = "MisMatchingOAuthClaims";

/// The service's 504, whose body was never captured (facts E1): with this code, or empty.
const TIMEOUT: &str = "GatewayTimeout";

const CATALOGUE: &[Finding] = &[
    rejected(
        "MissingApiVersionParameter", // [W]
        "",
        "the flow's `url:` has lost its `api-version`: paste the trigger URL again, quoted",
    ),
    rejected(
        "InvalidApiVersionParameter", // [W]
        "",
        "host and `api-version` of the flow's `url:` do not belong together: paste the trigger URL again",
    ),
    // [I] A token the service once refused as missing may be a token it could not read: a fresh one is tried once.
    Finding {
        renewal: Renewal::Replay,
        ..rejected(
            "DirectApiAuthorizationRequired", // [W]
            "OAuth authorization scheme is required",
            "the flow wants an Entra ID token (\"Any user in my tenant\" or \"Specific users\"): give it a `credential:`",
        )
    },
    rejected(
        "DirectApiAuthorizationRequired", // [W]
        "only by Shared Access scheme",
        "the flow is set to \"Anyone\": remove its `credential:`, or write `credential: none` where `defaults:` gives it one, and use the URL with `sig=`, or change \"Who can trigger the flow?\"",
    ),
    rejected(
        "DirectApiAuthorizationRequired", // [W] api-version 2015-08-01-preview
        "",
        "the flow wants an authentication that was not sent: check its `credential:` and its \"Who can trigger the flow?\"",
    ),
    rejected(
        "DirectApiRequestHasMoreThanOneAuthorization", // [W]
        "",
        "signature and token arrived together: something between gateway and flow adds one of them",
    ),
    rejected(
        "DirectApiInvalidAuthorizationScheme", // [W]
        "SAS authentication scheme while it is disabled",
        "signed URLs are switched off for this flow or tenant: give the flow a `credential:`",
    ),
    // [I] The trigger's answer to an expired or badly signed token was not captured; this text is its likeliest.
    Finding {
        renewal: Renewal::Replay,
        ..rejected(
            "DirectApiInvalidAuthorizationScheme", // [W] Standard
            "",
            "the service could not read or verify the token: check the credential's tenant and cloud",
        )
    },
    Finding {
        renewal: Renewal::Later,
        ..rejected(
            MISMATCH, // [W] 403, [C] 401
            "",
            "the token's `aud`, `iss`, `tid` or `oid` is not what the flow admits: compare with its \"Who can trigger the flow?\"; the \
             allowed id is the object id of the enterprise application, not of the app registration",
        )
    },
    rejected(
        "OAuthAccessPolicyNotFound", // [C]
        "",
        "the flow is set to \"Anyone\" and takes no token: remove its `credential:`, or write `credential: none` where `defaults:` gives it one, and use the URL with `sig=`",
    ),
    rejected(
        "AuthorizationFailed", // [W]
        "",
        "the signature in the flow's `url:` is missing or wrong: paste the trigger URL again",
    ),
    rejected(
        "DirectApiInvalidAuthorizationSignature", // [C, weak]
        "",
        "the signature in the flow's `url:` is wrong: paste the trigger URL again",
    ),
    rejected(
        "TriggerRequestMethodNotValid", // [W]
        "",
        "the flow's trigger accepts another method: set the flow's `methods:` to it",
    ),
    found(
        "WorkflowNotFound", // [W] ARM, [C] trigger
        Verdict::NotFound,
        "the flow was deleted, moved or got a new URL: paste the trigger URL again",
    ),
    found(
        "WorkflowTriggerIsNotEnabled", // [W]
        Verdict::Disabled,
        "the flow is off: turned off, suspended by licensing or a data policy, or off after 14 days of failures; turn it on",
    ),
    found(
        "NoResponse", // [W]
        Verdict::NoResponse,
        "the run ended without reaching its Response action: look at the run in the flow's history",
    ),
    found(
        TIMEOUT, // status [D], an empty code was logged by the engine [W], the name [I]
        Verdict::Timeout,
        "the run did not reach its Response action within the service's 120 s: answer 202 early, or shorten the run",
    ),
    found(
        "InvalidRequestContent", // [W]
        Verdict::BodyInvalid,
        "the caller's body is not valid JSON although it says so; a byte order mark before it is not JSON either (RFC 8259 section 8.1)",
    ),
    found(
        "TriggerInputSchemaMismatch", // [W]
        Verdict::SchemaMismatch,
        "the caller's body does not fit the trigger's schema",
    ),
    found(
        "RequestsThrottled", // [W]
        Verdict::Throttled,
        "too many calls of this flow at a time: slow down, or shorten its runs",
    ),
    found(
        "TooManyConcurrentRequests", // [W]
        Verdict::Throttled,
        "too much run time of this flow within five minutes: slow down",
    ),
];

const fn rejected(code: &'static str, message: &'static str, fix: &'static str) -> Finding {
    Finding {
        code,
        message,
        verdict: Verdict::RejectedGateway,
        renewal: Renewal::Never,
        fix,
    }
}

const fn found(code: &'static str, verdict: Verdict, fix: &'static str) -> Finding {
    Finding {
        code,
        message: "",
        verdict,
        renewal: Renewal::Never,
        fix,
    }
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Error>,
    #[serde(rename = "statusCode")]
    status_code: Option<u16>,
}

#[derive(Deserialize)]
struct Error {
    code: String,
    #[serde(default)]
    message: String,
}

/// The entry of a JSON body that begins with a byte order mark, which is the likeliest reason why it cannot be read.
const MARKED: Finding = found(
    "InvalidRequestContent", // [W]
    Verdict::BodyInvalid,
    "the caller's body begins with a byte order mark (EF BB BF), which JSON may not have (RFC 8259 section 8.1): have it sent without",
);

/// Whether a body begins with UTF-8's byte order mark.
#[must_use]
pub fn is_marked(body: &[u8]) -> bool {
    body.starts_with(b"\xef\xbb\xbf")
}

impl Finding {
    /// The same, for a body of which the beginning is known.
    #[must_use]
    pub fn for_body(&'static self, marked: bool) -> &'static Self {
        if marked && self.verdict == Verdict::BodyInvalid {
            return &MARKED;
        }
        self
    }
}

/// How the service's own texts begin, which it says of a run that did not answer: `NoResponse` [W], `GatewayTimeout` [I].
const UNANSWERED: [&str; 2] = [
    "The server did not receive a response from",
    "The gateway did not receive a response",
];

/// Whether an answer of this status may say that a run did not answer.
#[must_use]
pub fn ends_runs(status: u16) -> bool {
    matches!(status, 502 | 504)
}

/// The entry for an answer that names its run; `None`: the flow's own. A Response action may say 502 and 504 too, and name a code of its
/// own: only the service's very words are the service's.
#[must_use]
pub fn find_of_run(status: u16, body: &[u8]) -> Option<&'static Finding> {
    let finding = find(status, body)?;
    let verdict = match status {
        502 => Verdict::NoResponse,
        504 => Verdict::Timeout,
        _ => return None,
    };
    let service = body.is_empty()
        || serde_json::from_slice::<Answer>(body)
            .ok()
            .and_then(|answer| answer.error)
            .is_some_and(|error| {
                let message = error.message.as_str();
                UNANSWERED.iter().any(|text| message.starts_with(text))
            });
    (finding.verdict == verdict && service).then_some(finding)
}

/// The entry for an answer without a run id; `None`: not of the catalogue, so the answer is the flow's own.
#[must_use]
pub fn find(status: u16, body: &[u8]) -> Option<&'static Finding> {
    if status == 504 && body.is_empty() {
        return CATALOGUE.iter().find(|entry| entry.code == TIMEOUT);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return None;
    };
    match answer {
        Answer {
            error: Some(error), ..
        } => CATALOGUE
            .iter()
            .find(|entry| entry.code == error.code && error.message.contains(entry.message)),
        // Connector style, without the `error` wrapper [W].
        Answer {
            status_code: Some(429),
            ..
        } if status == 429 => CATALOGUE
            .iter()
            .find(|entry| entry.verdict == Verdict::Throttled),
        Answer { .. } => None,
    }
}

/// Every code of the catalogue, once, in the catalogue's order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    CATALOGUE
        .iter()
        .map(|entry| entry.code)
        .filter(move |code| std::mem::replace(&mut last, code) != *code)
}

/// Every entry, in the order in which they are looked up.
#[must_use]
pub const fn catalogue() -> &'static [Finding] {
    CATALOGUE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: &str, message: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({"error": {"code": code, "message": message}}))
            .unwrap()
    }

    #[test]
    fn one_code_with_two_messages_has_two_fixes() {
        let oauth = find(401, &answer("DirectApiAuthorizationRequired", "The OAuth authorization scheme is required. Please add authentication scheme and try again.")).unwrap();
        let sas = find(
            401,
            &answer(
                "DirectApiAuthorizationRequired",
                "The request must be authenticated only by Shared Access scheme.",
            ),
        )
        .unwrap();
        assert_ne!(oauth.fix, sas.fix);
        assert_eq!(oauth.renewal, Renewal::Replay);
        assert_eq!(sas.renewal, Renewal::Never);
    }

    #[test]
    fn mismatching_claims_do_not_heal_by_renewal() {
        assert_eq!(
            find(403, &answer("MisMatchingOAuthClaims", "x"))
                .unwrap()
                .renewal,
            Renewal::Later
        );
    }

    #[test]
    fn what_is_not_of_the_catalogue_is_the_flows_own() {
        assert_eq!(find(404, &answer("OrderNotFound", "no such order")), None);
        assert_eq!(find(500, b"<html>"), None);
        assert_eq!(find(500, b"{\"error\":\"text\"}"), None);
    }

    #[test]
    fn the_services_own_timeout_is_recognised_with_and_without_a_body() {
        assert_eq!(find(504, b"").unwrap().verdict, Verdict::Timeout);
        assert_eq!(
            find(504, &answer("GatewayTimeout", "")).unwrap().verdict,
            Verdict::Timeout
        );
        assert_eq!(find(502, b""), None);
    }

    #[test]
    fn the_connector_style_429_is_recognised() {
        let body =
            br#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 2 seconds."}"#;
        assert_eq!(find(429, body).unwrap().verdict, Verdict::Throttled);
        assert_eq!(find(400, body), None);
    }
}
