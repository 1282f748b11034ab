//! A simulated Microsoft Graph: Planner's tasks, and who is asking.
//!
//! In: `POST /v1.0/planner/tasks`, `GET`, `PATCH` and `DELETE` of one task, `GET /v1.0/me`, each with a token for Graph. Out: what was sent
//! with an id and an etag; or 401 for a token that is none, is not Graph's or lacks the claims a test demands (facts B3.5), 403
//! without the permission (delegated or the application's own), 412 for an old etag. Error codes are the documented ones; their texts,
//! Planner's 400 without `If-Match` and the shape of etags are from general knowledge and were not looked up.

pub(crate) mod memory;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::directory::GRAPH;
use crate::random;
use crate::state::State;
use crate::token::verified;

/// A refusal: status, `code`, message, and claims to ask for.
struct Refused(u16, &'static str, &'static str, Option<String>);

impl Refused {
    fn answer(self, origin: &str) -> Answer {
        let Self(status, code, message, claims) = self;
        let answer = Answer::json(
            status,
            &json!({ "error": { "code": code, "message": message, "innerError": { "request-id": random::guid() } } }),
        );
        match (status, claims) {
            (401, Some(claims)) => answer.with("www-authenticate", &challenge(origin, &claims)),
            (401, None) => answer.with(
                "www-authenticate",
                &format!(
                    "Bearer realm=\"\", authorization_uri=\"{origin}/common/oauth2/authorize\""
                ),
            ),
            _ => answer,
        }
    }
}

/// The challenge of facts B3.5.
pub(crate) fn challenge(origin: &str, claims: &str) -> String {
    format!(
        "Bearer realm=\"\", authorization_uri=\"{origin}/common/oauth2/authorize\", error=\"insufficient_claims\", claims=\"{}\"",
        STANDARD.encode(claims)
    )
}

/// Answers one request.
pub(crate) fn answer(state: &State, head: &Parts, body: &[u8]) -> Answer {
    let answer = admitted(state, head)
        .and_then(|claims| applied(state, head, body, &claims))
        .unwrap_or_else(|refused| refused.answer(&state.origin));
    let answer = answer.with("request-id", &random::guid());
    match head
        .headers
        .get("client-request-id")
        .and_then(|value| value.to_str().ok())
    {
        Some(value) => answer.with("client-request-id", value),
        None => answer,
    }
}

/// The claims of a token that is good here.
fn admitted(state: &State, head: &Parts) -> Result<Map<String, Value>, Refused> {
    let invalid = |text| Refused(401, "InvalidAuthenticationToken", text, None);
    let token = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or_else(|| invalid("Access token is empty."))?;
    let claims = verified(token, &state.keys(), state.now())
        .ok_or_else(|| invalid("Lifetime validation failed, the token is expired."))?;
    if claims
        .get("aud")
        .and_then(Value::as_str)
        .is_none_or(|aud| aud.trim_end_matches('/') != GRAPH)
    {
        return Err(invalid(
            "Access token validation failure. Invalid audience.",
        ));
    }
    let demanded = state.graph().demanded.clone();
    match demanded {
        Some(demanded) if !satisfies(&claims, &demanded) => Err(Refused(
            401,
            "InvalidAuthenticationToken",
            "Continuous access evaluation resulted in challenge with result: InteractionRequired",
            Some(demanded),
        )),
        _ => Ok(claims),
    }
}

/// Whether the token has what the challenge asks for; `nbf` is the earliest moment of its issue.
fn satisfies(claims: &Map<String, Value>, demanded: &str) -> bool {
    let demanded: Value = serde_json::from_str(demanded).unwrap_or_default();
    let Some(wanted) = demanded.get("access_token").and_then(Value::as_object) else {
        return true;
    };
    wanted.iter().all(|(name, how)| {
        let have = claims.get(name);
        if name == "nbf" {
            let earliest = how
                .get("value")
                .and_then(|value| value.as_str()?.parse::<u64>().ok());
            // A token says that it was issued five minutes before it was (see `token.rs`).
            return earliest
                <= have
                    .and_then(Value::as_u64)
                    .map(|time| time.saturating_add(300));
        }
        let values = match (how.get("values"), how.get("value")) {
            (Some(Value::Array(values)), _) => values.clone(),
            (_, Some(value)) => vec![value.clone()],
            _ => return have.is_some(),
        };
        values.iter().any(|value| match have {
            Some(Value::Array(all)) => all.contains(value),
            Some(own) => own == value,
            None => false,
        })
    })
}

fn applied(
    state: &State,
    head: &Parts,
    body: &[u8],
    claims: &Map<String, Value>,
) -> Result<Answer, Refused> {
    let path: Vec<&str> = head.uri.path().split('/').skip(2).collect();
    let method = head.method.as_str();
    let read = method == "GET";
    match (method, path.as_slice()) {
        ("GET", ["me"]) => {
            permitted(claims, &["User.Read"], &[])?;
            let of = |name: &str| claims.get(name).cloned().unwrap_or_default();
            let user = json!({ "id": of("oid"), "userPrincipalName": of("upn"), "displayName": of("name") });
            Ok(Answer::json(200, &selected(state, head, "users", user)))
        }
        (_, ["planner", "tasks", ..]) => {
            if read {
                permitted(
                    claims,
                    &["Tasks.Read", "Tasks.ReadWrite"],
                    &["Tasks.Read.All", "Tasks.ReadWrite.All"],
                )?;
            } else {
                permitted(claims, &["Tasks.ReadWrite"], &["Tasks.ReadWrite.All"])?;
            }
            match (method, path.get(2)) {
                ("POST", None) => created(state, body),
                ("GET" | "PATCH" | "DELETE", Some(id)) => one(state, head, body, id),
                _ => Err(Refused(
                    405,
                    "Request_BadRequest",
                    "The simulator does not know that method here.",
                    None,
                )),
            }
        }
        _ => Err(Refused(
            404,
            "ResourceNotFound",
            "The simulator does not know that resource.",
            None,
        )),
    }
}

/// One of the delegated permissions, or in an application's own token one of its roles.
fn permitted(
    claims: &Map<String, Value>,
    delegated: &[&str],
    roles: &[&str],
) -> Result<(), Refused> {
    let scopes = claims
        .get("scp")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let own = claims.get("roles").and_then(Value::as_array);
    let fits = scopes.split(' ').any(|name| delegated.contains(&name))
        || own.is_some_and(|own| {
            own.iter()
                .any(|role| roles.iter().any(|known| role == known))
        });
    if fits {
        Ok(())
    } else {
        Err(Refused(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
            None,
        ))
    }
}

fn etag() -> String {
    format!("W/\"{}\"", random::secret())
}

fn document(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    serde_json::from_slice(body).map_err(|_| {
        Refused(
            400,
            "BadRequest",
            "Unable to read JSON request payload.",
            None,
        )
    })
}

fn created(state: &State, body: &[u8]) -> Result<Answer, Refused> {
    let mut task = document(body)?;
    if !task.get("planId").is_some_and(Value::is_string) {
        return Err(Refused(
            400,
            "BadRequest",
            "The request is invalid: planId is required.",
            None,
        ));
    }
    let id = random::hex(&random::bytes::<14>());
    task.insert("id".into(), id.clone().into());
    task.insert("@odata.etag".into(), etag().into());
    let location = format!("{}/v1.0/planner/tasks/{id}", state.origin);
    let answer = Answer::json(201, &Value::Object(task.clone())).with("location", &location);
    state.edit_graph(|graph| graph.tasks.insert(id, task));
    Ok(answer)
}

fn one(state: &State, head: &Parts, body: &[u8], id: &str) -> Result<Answer, Refused> {
    let task = state.graph().tasks.get(id).cloned();
    let mut task = task.ok_or(Refused(
        404,
        "ResourceNotFound",
        "The requested item is not found.",
        None,
    ))?;
    if head.method == http::Method::GET {
        let tag = task
            .get("@odata.etag")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let document = selected(state, head, "planner/tasks", Value::Object(task));
        return Ok(Answer::json(200, &document).with("etag", &tag));
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let known = header("if-match").ok_or(Refused(
        400,
        "BadRequest",
        "The If-Match header must be specified.",
        None,
    ))?;
    if task.get("@odata.etag").and_then(Value::as_str) != Some(known) {
        return Err(Refused(
            412,
            "PreconditionFailed",
            "The If-Match header does not match the current etag.",
            None,
        ));
    }
    if head.method == http::Method::DELETE {
        state.edit_graph(|graph| graph.tasks.remove(id));
        return Ok(Answer::new(204));
    }
    task.extend(document(body)?);
    task.insert("@odata.etag".into(), etag().into());
    state.edit_graph(|graph| graph.tasks.insert(id.to_owned(), task.clone()));
    if header("prefer").is_some_and(|wish| wish.contains("return=representation")) {
        let answer = Answer::json(200, &Value::Object(task));
        return Ok(answer.with("preference-applied", "return=representation"));
    }
    Ok(Answer::new(204))
}

/// The members that `$select` names, all without it; the context says which.
fn selected(state: &State, head: &Parts, set: &str, document: Value) -> Value {
    let query = head.uri.query().unwrap_or_default();
    let select = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "$select");
    let base = format!("{}/v1.0/$metadata#{set}", state.origin);
    let Value::Object(mut members) = document else {
        return document;
    };
    let context = match select {
        None => format!("{base}/$entity"),
        Some((_, names)) => {
            members.retain(|name, _| {
                name.starts_with('@') || names.split(',').any(|wanted| wanted == name)
            });
            format!("{base}({names})/$entity")
        }
    };
    members.insert("@odata.context".into(), context.into());
    Value::Object(members)
}
