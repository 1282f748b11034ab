//! Calls to flows: many at a time over one protocol or the other.

use std::convert::Infallible;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::simulator::{Fault, Place, Times};

/// An HTTP/2 server that allows 100 streams and answers nobody before `all` requests have arrived.
async fn crowd(all: usize) -> (String, Settings) {
    let identity = identity(&["h2"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(identity.server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let arrived = watch::Sender::new(0);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, arrived) = (acceptor.clone(), arrived.clone());
            tokio::spawn(async move {
                let service = service_fn(move |_| {
                    let arrived = arrived.clone();
                    async move {
                        arrived.send_modify(|count| *count += 1);
                        let mut count = arrived.subscribe();
                        count.wait_for(|count| *count >= all).await.unwrap();
                        Ok::<_, Infallible>(Response::new(Body::full("{}")))
                    }
                });
                let socket = acceptor.accept(socket).await.unwrap();
                let _ = http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(100)
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    let settings = Settings {
        ca: vec![identity.certificate],
        ..settings()
    };
    (url, settings)
}

#[tokio::test]
async fn more_calls_than_one_http2_connection_takes_are_all_in_flight_at_once() {
    let (url, settings) = crowd(500).await;
    let outbound = Outbound::new(&settings).unwrap();
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (flows, url) = (outbound.flows().clone(), url.clone());
            tokio::spawn(async move { flows.request(post(&url)).await.unwrap().status() })
        })
        .collect();
    for call in calls {
        // One call that has to wait for another's end would wait for ever.
        let answered = tokio::time::timeout(Duration::from_secs(30), call);
        assert_eq!(answered.await.unwrap().unwrap(), 200);
    }
    assert_eq!(outbound.flows().in_flight().iter().sum::<usize>(), 0);
}

#[tokio::test]
async fn a_place_is_held_until_the_answers_body_is_gone_and_given_back_by_a_call_that_was_dropped()
{
    let simulator = plain().await;
    let url = format!(
        "{}{}",
        simulator.origin(),
        simulator.flow("legacy").unwrap().target()
    );
    let outbound = outbound();
    let answer = outbound.flows().request(post(&url)).await.unwrap();
    assert_eq!(outbound.flows().in_flight()[0], 1);
    drop(answer);
    assert_eq!(outbound.flows().in_flight()[0], 0);
    simulator.fault(Place::Flow("legacy".into()), Fault::Hang, Times::Once);
    {
        let call = outbound.flows().request(post(&url));
        let two = simulator.until(|simulator| simulator.received().len() == 2);
        tokio::select! {
            _ = call => panic!("answered"),
            () = two => {}
        }
    }
    assert_eq!(outbound.flows().in_flight()[0], 0);
}
