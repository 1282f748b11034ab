//! The simulator's few pages for persons: plain HTML, no script but the one that posts a form on.

use std::fmt::Write;

use crate::answer::Answer;
use crate::directory::User;

/// One button for each user, and one to decline; with `code`, a field for a device's code.
pub(crate) fn sign_in(app: &str, users: &[User], code: Option<&str>) -> Answer {
    let mut body = format!(
        "<h1>Simulated sign-in</h1><p>{} wants to sign you in. Who are you?</p><form method=\"post\">",
        escaped(app)
    );
    if let Some(code) = code {
        let _ = write!(
            body,
            "<p>Code: <input name=\"code\" value=\"{}\"></p>",
            escaped(code)
        );
    }
    for user in users {
        let (id, name) = (escaped(&user.object_id), escaped(&user.name));
        let _ = write!(
            body,
            "<p><button name=\"user\" value=\"{id}\">{name}</button> {:?}</p>",
            user.state
        );
    }
    body.push_str("<p><button name=\"decline\" value=\"1\">Decline</button></p></form>");
    page(200, &body)
}

/// Why there is nothing to sign in to.
pub(crate) fn refused(description: &str) -> Answer {
    page(
        400,
        &format!(
            "<h1>Sorry, but we're having trouble signing you in.</h1><p>{}</p>",
            escaped(description)
        ),
    )
}

/// A short message.
pub(crate) fn said(text: &str) -> Answer {
    page(200, &format!("<p>{}</p>", escaped(text)))
}

/// `response_mode=form_post`.
pub(crate) fn posted(target: &str, fields: &[(&str, String)]) -> Answer {
    let mut body = format!("<form method=\"post\" action=\"{}\">", escaped(target));
    for (name, value) in fields {
        let _ = write!(
            body,
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
            escaped(value)
        );
    }
    body.push_str("<noscript><button>Continue</button></noscript></form><script>document.forms[0].submit();</script>");
    page(200, &body)
}

fn page(status: u16, body: &str) -> Answer {
    let page = format!(
        "<!DOCTYPE html><html><head><title>flowgate simulator</title></head><body>{body}</body></html>"
    );
    Answer::new(status)
        .with("content-type", "text/html; charset=utf-8")
        .with("cache-control", "no-store")
        .body(page)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
