//! Who accepts connections and finds the handler for a path?
//!
//! HTTP/1.1 and HTTP/2 on one port, by ALPN over TLS and by the connection preface in the clear. A request body is read as it comes,
//! into its record. Everything that is neither Entra's nor the simulator's page is recorded as a flow request.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Payload};
use crate::call::Call;
use crate::directory::Version;
use crate::fault::FaultPoint;
use crate::flow::{Flow, FlowState, workflow_in};
use crate::inject_fault::{Exchange, apply};
use crate::record::Recording;
use crate::service::Service;
use crate::service_error::ServiceError;
use crate::state::State;
use crate::wire::{Stream, Transport, Wire};
use crate::{
    authorize, device_code, entra, graph, managed_identity, page, rehearsal, reply, token_endpoint,
    vault,
};

/// Accepts until the task is aborted, which ends all connections with it.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, peer)) = listener.accept().await else {
            // Out of file descriptors: give the connections a moment to end.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let _ = socket.set_nodelay(true);
        let local = peer.ip().to_canonical().is_loopback();
        connections.spawn(serve(socket, local, tls.clone(), state.clone()));
    }
}

async fn serve(socket: TcpStream, local: bool, tls: Option<TlsAcceptor>, state: Arc<State>) {
    match tls {
        None => speak(socket, local, state).await,
        Some(acceptor) => {
            if let Ok(socket) = acceptor.accept(socket).await {
                speak(socket, local, state).await;
            }
        }
    }
}

async fn speak<T: Transport + 'static>(socket: T, local: bool, state: Arc<State>) {
    let connection = state.records.connections.fetch_add(1, Ordering::SeqCst);
    let wire = Wire::default();
    let stream = Stream::new(socket, wire.clone());
    let service = service_fn(move |request| {
        let (state, wire) = (state.clone(), wire.clone());
        async move {
            let (answer, recording) = handle(&state, connection, local, request).await;
            Ok::<Response<Payload>, Infallible>(answer.into_response(&wire, recording))
        }
    });
    // No timer: an idle connection is never closed from here, so what closes it is the gateway's doing.
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(1000);
    // An error here is the other side's, or one that was ordered.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn handle(
    state: &State,
    connection: u64,
    local: bool,
    request: Request<Incoming>,
) -> (Answer, Option<Recording>) {
    let path = request.uri().path().to_owned();
    let service = Service::at(&path);
    if service != Service::Flow {
        return served(state, connection, request, service).await;
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let published = match segments.as_slice() {
        ["-", place @ ..] if local => {
            let (head, body) = request.into_parts();
            let body = read(&head, body, None).await.unwrap_or_default();
            rehearsal::answer(state, &head.method, place, &body)
        }
        ["common", "discovery", "instance"] => entra::instances(state),
        [_, "userrealm" | "UserRealm", user] => entra::realm(state, user),
        [tenant, ".well-known", "openid-configuration"] => {
            entra::metadata(state, tenant, Version::V1).await
        }
        [tenant, "v2.0", ".well-known", "openid-configuration"] => {
            entra::metadata(state, tenant, Version::V2).await
        }
        [tenant, "discovery", "keys"] => entra::key_set(state, tenant, Version::V1).await,
        [tenant, "discovery", "v2.0", "keys"] => entra::key_set(state, tenant, Version::V2).await,
        [tenant, "oauth2", "token"] => token(state, request, tenant, Version::V1).await,
        [tenant, "oauth2", "v2.0", "token"] => token(state, request, tenant, Version::V2).await,
        [""] => Answer::new(200)
            .with("content-type", "text/plain; charset=utf-8")
            .body(page::text(state)),
        _ => return triggered(state, connection, request, &path).await,
    };
    (published, None)
}

async fn token(
    state: &State,
    request: Request<Incoming>,
    tenant: &str,
    version: Version,
) -> Answer {
    let (head, body) = request.into_parts();
    let body = read(&head, body, None).await.unwrap_or_default();
    let answer = token_endpoint::answer(state, &head, &body, tenant, version).await;
    let code = answer
        .code
        .map_or_else(String::new, |code| format!(" AADSTS{code}"));
    state.log(&format!("token {tenant} {}{code}", answer.status.as_u16()));
    answer
}

/// One of the services beside Entra ID's own and the flows.
async fn served(
    state: &State,
    connection: u64,
    request: Request<Incoming>,
    service: Service,
) -> (Answer, Option<Recording>) {
    let recording = state.records.arrived(connection, service, "", &request);
    let (head, body) = request.into_parts();
    let exchange = Exchange {
        origin: &state.origin,
        now: state.now(),
        flow: None,
        authorization: head.headers.get(http::header::AUTHORIZATION),
        run: None,
    };
    let honest = async {
        let Some(body) = read(&head, body, Some(&recording)).await else {
            return Answer::new(400);
        };
        match service {
            Service::Imds | Service::AppService | Service::Arc => {
                managed_identity::answer(state, &head, service)
            }
            Service::KeyVault => vault::answer(state, &head, &body),
            Service::Authorize => authorize::answer(state, &head, &body),
            Service::DeviceCode => device_code::answer(state, &head, &body),
            Service::Graph => graph::answer(state, &head, &body),
            Service::Flow => unknown(state, &head, head.uri.path()),
        }
    };
    let sets = service == Service::KeyVault
        && head.method == http::Method::PUT
        && exchange.authorization.is_some();
    let fault = sets.then(|| state.script.next(&FaultPoint::SetSecret, false));
    let fault = fault
        .flatten()
        .or_else(|| state.script.next(&FaultPoint::At(service), false));
    let answer = apply(fault, &exchange, honest).await;
    let (name, method, status) = (service.name(), &head.method, answer.status.as_u16());
    state.log(&format!("{name} {method} {status}"));
    (answer, Some(recording))
}

async fn triggered(
    state: &State,
    connection: u64,
    request: Request<Incoming>,
    path: &str,
) -> (Answer, Option<Recording>) {
    let found = workflow_in(path)
        .and_then(|(id, tail)| Some((state.flow_by_id(id)?, tail)))
        .filter(|(flow, _)| flow.state != FlowState::Missing);
    let name = found.as_ref().map_or("", |(flow, _)| flow.name.as_str());
    let recording = state
        .records
        .arrived(connection, Service::Flow, name, &request);
    let (head, body) = request.into_parts();
    let answer = if let Some((flow, tail)) = &found {
        answered(state, flow, tail, &head, body, &recording).await
    } else {
        read(&head, body, Some(&recording)).await;
        unknown(state, &head, path)
    };
    let place = if name.is_empty() {
        "unknown path"
    } else {
        name
    };
    let (method, status) = (&head.method, answer.status.as_u16());
    state.log(&format!("flow {place} {method} {status}"));
    (answer, Some(recording))
}

async fn answered(
    state: &State,
    flow: &Flow,
    tail: &str,
    head: &Parts,
    body: Incoming,
    recording: &Recording,
) -> Answer {
    let early = state
        .script
        .next(&FaultPoint::Flow(flow.name.clone()), true);
    let empty = Bytes::new();
    let before = Call {
        state,
        head,
        body: &empty,
        recording,
        tail,
    };
    let honest = async {
        let Some(body) = read(head, body, Some(recording)).await else {
            // Nobody is left to read this; above all, no run is started for half a body.
            return Answer::new(400);
        };
        let call = Call {
            state,
            head,
            body: &body,
            recording,
            tail,
        };
        call.answer(flow).await
    };
    apply(early, &before.exchange(flow, None), honest).await
}

/// A path that is no trigger's: the polling address of a run, or nothing the service knows.
fn unknown(state: &State, head: &Parts, path: &str) -> Answer {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if let ["workflows", id, "runs", run, "operations", _] = segments.as_slice()
        && let Some(flow) = state.flow_by_id(id)
    {
        return reply::operation(&flow, run, head.uri.query().unwrap_or_default());
    }
    let id = path
        .split_once("/workflows/")
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or(path);
    ServiceError::workflow_not_found(id).answer()
}

/// The body, or `None` if it broke off; a record grows with it.
///
/// A body that ends without an error but short of its declared length broke off too: hyper takes a stream reset with `NO_ERROR` for
/// an orderly end.
async fn read(head: &Parts, mut body: Incoming, recording: Option<&Recording>) -> Option<Bytes> {
    let declared = head
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.ok()?;
        if let (Some(data), Some(recording)) = (frame.data_ref(), recording) {
            recording.data(data);
        }
        if let (Some(trailers), Some(recording)) = (frame.trailers_ref(), recording) {
            recording.trailers(trailers);
        }
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    if declared.is_some_and(|length| length != bytes.len()) {
        return None;
    }
    if let Some(recording) = recording {
        recording.complete();
    }
    Some(bytes.freeze())
}
