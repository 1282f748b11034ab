//! One connection, from the accepted socket to its last byte.
//!
//! In: a socket and a place. Out: HTTP/1.1 or HTTP/2 requests for the service. TLS and the choice of protocol share one deadline: hyper-util's
//! own detection has none (design, "Traps"), and a socket that says nothing, or half a preface, would hold its place for ever.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::activity::Activity;
use super::drain::{Stage, reached};
use super::handler::{Answers, Handler};
use super::handshake::TlsSocket;
use super::slots::{ConnectionSlot, ConnectionSlots};
use super::socket::{Socket, Transport};
use super::streams::Streams;
use super::watchdog::{ConnectionWatchdog, Http, Verdict};
use super::{Limits, ListenerSettings, Reason};
use crate::call::Connection;

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The answer to a head that does not come: hyper has none.
const SLOW_HEAD: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves one connection to its end.
pub(super) async fn serve<S>(
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    mut slot: ConnectionSlot,
    stage: watch::Receiver<Stage>,
) where
    S: Answers,
{
    slot.taken();
    let slots = &slot.slots;
    let settings = slots.settings.load_full();
    // Boxed, so that a connection does not keep room for its handshake.
    let opening = Box::pin(async {
        tokio::select! {
            opened = timeout(settings.head_timeout, open(stream, &settings, &slots.port_limits.patience)) => {
                opened.unwrap_or(Err(Some(Reason::Handshake)))
            }
            () = deadline(stage.clone(), &slots.limits) => Err(None),
            () = slot.activity.leave.asked() => Err(Some(Reason::Displaced)),
        }
    });
    let opened = looking(opening, &slot.activity).await;
    let (transport, protocol, ahead) = match opened {
        Ok(opened) => opened,
        Err(reason) => {
            if let Some(reason) = reason {
                slots.count(reason);
            }
            return;
        }
    };
    let activity = Arc::clone(&slot.activity);
    let handler = Handler {
        service,
        connection: Connection {
            // One address, one spelling: an IPv4 caller of an IPv6 socket is an IPv4 caller (security rule 19).
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            tls: matches!(transport, Transport::Tls(_)),
            ambiguous: false,
            late: *stage.borrow() >= Stage::Draining,
            standing: Arc::clone(&activity.standing),
            undecided: None,
        },
        activity: Arc::clone(&activity),
        unread: (slots.limits.unread, slots.limits.unread_wait),
        discard: (slots.limits.discard_bytes, slots.limits.discard),
        stall: settings.body_idle_timeout,
    };
    let watchdog = ConnectionWatchdog {
        activity: &activity,
        limits: &slots.limits,
        head_timeout: settings.head_timeout,
        stall: settings.body_idle_timeout,
        stage,
        born: Instant::now(),
    };
    drop(settings);
    let socket = Socket::new(transport, ahead, Arc::clone(&activity));
    match protocol {
        Protocol::Http1 => serve_http1(socket.with_heads(), handler, &watchdog, slots).await,
        // Boxed, so that HTTP/1 does not keep room for it.
        Protocol::Http2 => {
            Box::pin(serve_http2(
                socket.with_frames(PREFACE.len()),
                handler,
                &watchdog,
                slots,
            ))
            .await;
        }
    }
}

/// Notes when nothing more of what had come with the connection is there.
async fn looking<F: Future>(mut opening: Pin<Box<F>>, activity: &Activity) -> F::Output {
    poll_fn(|cx| {
        let polled = opening.as_mut().poll(cx);
        if polled.is_pending() {
            activity.looked();
        }
        polled
    })
    .await
}

/// Ends when a drain has waited long enough for somebody who has said nothing yet.
async fn deadline(stage: watch::Receiver<Stage>, limits: &Limits) {
    reached(stage, Stage::Draining).await;
    tokio::time::sleep(limits.closing_grace).await;
}

/// TLS where it is configured, and which HTTP is spoken. `Err(None)`: the caller left without a word.
async fn open(
    mut stream: TcpStream,
    settings: &ListenerSettings,
    patience: &Arc<Semaphore>,
) -> Result<(Transport, Protocol, BytesMut), Option<Reason>> {
    // Answers are written whole: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    if let Some(tls) = &settings.tls {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(tls));
        let mut stream = acceptor
            .accept(TlsSocket::new(stream, patience))
            .await
            .map_err(|_| Some(Reason::Tls))?;
        stream.get_mut().0.secured();
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let transport = Transport::Tls(Box::new(stream));
        return Ok((transport, protocol, BytesMut::new()));
    }
    match detect(&mut stream).await {
        Ok(Some((protocol, ahead))) => Ok((Transport::Plain(stream), protocol, ahead)),
        Ok(None) => Err(None),
        Err(_) => Err(Some(Reason::Io)),
    }
}

/// HTTP/2 when the first bytes are its preface; HTTP/1 as soon as one differs.
async fn detect<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<(Protocol, BytesMut)>> {
    let mut bytes = [0; 24];
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        let read = stream.read(room).await?;
        if read == 0 && length == 0 {
            return Ok(None);
        }
        length += read;
        if read == 0 || bytes.get(..length) != PREFACE.get(..length) {
            return Ok(Some((Protocol::Http1, ahead(&bytes, length))));
        }
    }
    Ok(Some((Protocol::Http2, ahead(&bytes, length))))
}

fn ahead(bytes: &[u8; 24], length: usize) -> BytesMut {
    BytesMut::from(bytes.get(..length).unwrap_or_default())
}

type Io = TokioIo<Socket>;

async fn serve_http1<S>(
    socket: Socket,
    handler: Handler<S>,
    watchdog: &ConnectionWatchdog<'_>,
    slots: &ConnectionSlots,
) where
    S: Answers,
{
    let mut connection = http1::Builder::new()
        // The head limit is the buffer limit; hyper refuses more than 100 fields on its own.
        .max_buf_size(slots.limits.head as usize)
        // Ours distinguishes an idle connection from a slow head; hyper's would end both.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), handler);
    let verdict = watchdog.keep(Pin::new(&mut connection)).await;
    // Before the connection is taken apart, which ends what is in flight.
    if finish(&verdict, watchdog.activity, slots)
        || matches!(verdict, Verdict::Idle | Verdict::Displaced)
    {
        return;
    }
    let parts = connection.into_parts();
    let unparsed = !parts.read_buf.is_empty();
    // What had been read of a head is not kept while the caller is waited for.
    drop(parts.read_buf);
    let mut socket = parts.io.into_inner();
    let bytes = slots.limits.discard_bytes;
    let close = Box::pin(close(
        &mut socket,
        &verdict,
        watchdog.activity,
        unparsed,
        bytes,
    ));
    tokio::select! {
        _ = timeout(slots.limits.discard, close) => {}
        () = reached(watchdog.stage.clone(), Stage::Cut) => {}
        () = watchdog.activity.leave.asked() => {}
    }
}

/// Closes the connection, our side first, and waits for the caller's only where closing could cost it the answer.
async fn close(
    socket: &mut Socket,
    verdict: &Verdict,
    activity: &Activity,
    unparsed: bool,
    bytes: u64,
) {
    let mid_head = matches!(verdict, Verdict::SlowHead) && activity.has_head_begun();
    if mid_head {
        let _ = socket.write_all(SLOW_HEAD).await;
    }
    // hyper has not where the caller wanted another protocol.
    let _ = socket.shutdown().await;
    socket.without_heads();
    let failed = matches!(verdict, Verdict::Ended(Err(_)));
    let unread = mid_head || failed || unparsed || activity.unread.load(Relaxed);
    if unread || has_more(socket).await {
        discard(socket, activity, bytes).await;
    }
}

/// Whether bytes have come that nobody has read.
async fn has_more(socket: &mut Socket) -> bool {
    let mut bytes = [0; 1];
    let read = std::future::poll_fn(|cx| {
        let mut into = ReadBuf::new(&mut bytes);
        let polled = Pin::new(&mut *socket).poll_read(cx, &mut into);
        Poll::Ready(polled.is_ready() && !into.filled().is_empty())
    });
    read.await
}

/// Reads and drops what still comes, until the caller closes. Closing with unread bytes sends a reset, which can overtake the answer: the
/// caller would see a broken connection instead of the 401 or 413 to a body it is still sending.
async fn discard(socket: &mut Socket, activity: &Activity, mut bytes: u64) {
    let mut waste = [0; 4096];
    while bytes > 0 && !activity.ended.load(Relaxed) {
        match socket.read(&mut waste).await {
            Ok(read) if read > 0 => bytes = bytes.saturating_sub(read as u64),
            _ => return,
        }
    }
}

async fn serve_http2<S>(
    socket: Socket,
    handler: Handler<S>,
    watchdog: &ConnectionWatchdog<'_>,
    slots: &Arc<ConnectionSlots>,
) where
    S: Answers,
{
    let limits = &slots.limits;
    let streams = Streams {
        activity: Arc::clone(&handler.activity),
        slots: Arc::clone(slots),
        stall: watchdog.stall,
    };
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(limits.head)
        .max_send_buf_size(limits.send_buffer)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.error_resets)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping_timeout)
        .serve_connection(TokioIo::new(socket), handler);
    let mut connection = pin!(connection);
    let verdict = watchdog.keep(connection.as_mut()).await;
    finish(&verdict, watchdog.activity, slots);
    if matches!(verdict, Verdict::Ended(_)) {
        // A plain close never looks like the end of an HTTP/2 answer, and a reset could overtake what GOAWAY says.
        watchdog.activity.reset.store(false, Relaxed);
    }
}

/// Counts how a connection ended. True: close it at once and with a reset.
fn finish(verdict: &Verdict, activity: &Activity, slots: &ConnectionSlots) -> bool {
    let (reason, abort) = match verdict {
        Verdict::Ended(Ok(())) | Verdict::Idle => (None, false),
        // An answer that broke off must not look complete.
        Verdict::Ended(Err(_)) if activity.stalled.load(Relaxed) => {
            (Some(Reason::WriteTimeout), true)
        }
        Verdict::Ended(Err(error)) => {
            let reason = Reason::of(error);
            // Some clients always leave with a reset, as after an upload that was refused: that broke nothing.
            let broken = reason != Reason::Io || activity.unfinished() > 0;
            (broken.then_some(reason), !error.is_parse())
        }
        Verdict::SlowHead => (Some(Reason::Timeout), false),
        Verdict::Stalled => (Some(Reason::WriteTimeout), true),
        Verdict::Flooding => (Some(Reason::Reset), true),
        Verdict::Overstayed => (None, true),
        Verdict::Displaced => (Some(Reason::Displaced), activity.unfinished() > 0),
        Verdict::Cut => {
            let lost = activity.unfinished();
            slots.lose(lost);
            ((lost > 0).then_some(Reason::Drain), true)
        }
    };
    if let Some(reason) = reason {
        slots.count(reason);
    }
    if abort {
        activity.reset.store(true, Relaxed);
    }
    abort
}

impl<S> Http for http1::Connection<Io, Handler<S>>
where
    S: Answers,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    const SAYS_GOODBYE: bool = false;
}

impl<S> Http for http2::Connection<Io, Handler<S>, Streams>
where
    S: Answers,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    const SAYS_GOODBYE: bool = true;
}
