//! What goes back on the wire: status, headers, and a body that may break off.
//!
//! [`Answer`] is what handlers make; [`Payload`] is its body for hyper. A payload can hand out less than its declared length and
//! then stop for ever, end in an error, or take the connection with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::time::Sleep;

use crate::MARKER;
use crate::record::Recording;
use crate::wire::{End, Wire};

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As declared.
    Complete,
    /// Too early; the connection (HTTP/2: the stream) ends with it.
    Truncated,
    /// Not at all.
    Stalled,
    /// Too early, with a reset of the connection.
    Reset,
}

/// What a handler answers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) repeat: u64,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) ending: Ending,
    /// Instead of all that: these bytes, and the end of the connection.
    pub(crate) raw: Option<(Bytes, End)>,
    /// AADSTS number, for the record.
    pub(crate) code: Option<u32>,
}

impl Answer {
    /// An empty answer.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            repeat: 1,
            trailers: None,
            ending: Ending::Complete,
            raw: None,
            code: None,
        }
    }

    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status)
            .with("content-type", "application/json; charset=utf-8")
            .body(body.to_string())
    }

    /// Raw bytes instead of an answer.
    pub(crate) fn raw(bytes: Bytes, end: End) -> Self {
        Self {
            raw: Some((bytes, end)),
            ..Self::new(200)
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With this header line, replacing others of its name. What HTTP cannot carry is left out.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if let Some((name, value)) = line(name, value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With one more header line.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        if let Some((name, value)) = line(name, value) {
            self.headers.append(name, value);
        }
        self
    }

    /// For hyper. `recording` learns how the delivery ended.
    pub(crate) fn into_response(
        mut self,
        wire: &Wire,
        recording: Option<Recording>,
    ) -> Response<Payload> {
        if let Some((bytes, end)) = self.raw.take() {
            wire.take_over(bytes, end);
        }
        self.headers.insert(MARKER, HeaderValue::from_static("1"));
        // The body's own length counts; a contradiction would be hyper's to resolve. Raw bytes are the way to lie about it.
        self.headers.remove(header::CONTENT_LENGTH);
        let mut body = self.body;
        let mut length = (self.repeat == 1 && self.trailers.is_none()).then_some(body.len() as u64);
        if self.ending != Ending::Complete {
            if body.is_empty() {
                body = Bytes::from_static(b"{\"filler\":\"for a body that breaks off\"}");
                length = Some(body.len() as u64);
            }
            body.truncate(body.len() / 2);
        }
        if let Some(recording) = &recording {
            recording.answering(self.status.as_u16());
        }
        let mut response = Response::new(Payload {
            left: if body.is_empty() { 0 } else { self.repeat },
            chunk: body,
            length,
            trailers: self.trailers,
            ending: self.ending,
            pause: None,
            wire: wire.clone(),
            recording,
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

fn line(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((
        HeaderName::from_bytes(name.as_bytes()).ok()?,
        HeaderValue::from_bytes(value.as_bytes()).ok()?,
    ))
}

/// The body of an [`Answer`].
pub(crate) struct Payload {
    chunk: Bytes,
    left: u64,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
    ending: Ending,
    pause: Option<Pin<Box<Sleep>>>,
    wire: Wire,
    recording: Option<Recording>,
}

impl Payload {
    fn is_over(&self) -> bool {
        self.left == 0 && self.trailers.is_none() && self.ending == Ending::Complete
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))));
        }
        match self.ending {
            Ending::Complete => Poll::Ready(self.trailers.take().map(|t| Ok(Frame::trailers(t)))),
            Ending::Stalled => Poll::Pending,
            Ending::Truncated | Ending::Reset => {
                // What was handed out has to leave hyper's buffers before the error takes the connection.
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(50))));
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if self.ending == Ending::Reset {
                    self.wire.take_over(Bytes::new(), End::Reset);
                }
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // hyper drops a body of known length without asking for its end.
        if self.is_over()
            && let Some(recording) = &mut self.recording
        {
            recording.delivered();
        }
    }
}
