//! What is reported, and when.

use std::io;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::app::Ambient;
use crate::clock::{Clock, Random};
use crate::config;
use crate::metrics::Metrics;
use settings::Environment;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// The lines of this module so far, once there are `count` of them.
    async fn read(&self, count: usize) -> Vec<String> {
        loop {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines: Vec<_> = text
                .lines()
                .filter(|line| line.contains("app::expiry"))
                .map(str::to_owned)
                .collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// 2026-11-22.
const NOW: u64 = 1_795_305_600;

/// One credential each that expires on a day of its own, or never as far as is known.
const YAML: &str = r"
defaults: { entra: { tenant: 8f3b0000-0000-0000-0000-000000000001, authority: 'http://127.0.0.1:1' } }
callers:
  erp: { api_key: { plain: { env: KEY } } }
credentials:
  ended: { client_secret: { client_id: a, secret: { env: KEY }, expires: 2026-11-20 } }
  ending: { client_secret: { client_id: a, secret: { env: KEY }, expires: 2026-12-22 } }
  later: { client_secret: { client_id: a, secret: { env: KEY }, expires: 2026-12-24 } }
  unknown: { client_secret: { client_id: a, secret: { env: KEY } } }
flows:
  f: { url: 'http://127.0.0.1:9/x', who_can_trigger: erp }
";

#[tokio::test]
async fn each_day_what_has_expired_or_will_within_30_days_is_reported_once() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _scope = tracing::subscriber::set_default(subscriber);
    let ambient = Ambient {
        clock: Clock::manual(NOW),
        random: Random::system(),
        environment: Environment::fixed([("KEY", "sixteen-letters-or-more")]),
    };
    let config = config::parse(YAML, &ambient.environment, &ambient.clock)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let metrics = Metrics::new().unwrap();
    let app = Arc::new(App::start(&config, &ambient, &metrics, None).unwrap());
    // As a certificate in a vault says it, which nobody could look at before; and a sign-in, which has a warning of its own.
    let certificate = metrics
        .secret_expiry
        .reporter(&"unknown".into(), About::Secret);
    certificate.report(Some(NOW + 10 * 86_400));
    let sign_in = metrics
        .secret_expiry
        .reporter(&"later".into(), About::SignIn);
    sign_in.report(Some(NOW + 5 * 86_400));
    let reminders = tokio::spawn(app.remind_daily());
    tokio::task::yield_now().await;
    ambient.clock.advance(DAY);
    let day = lines.read(3).await;
    let [ended, ending, unknown] = day.as_slice() else {
        panic!("{day:#?}");
    };
    assert!(
        ended.contains("WARN") && ended.contains("has expired") && ended.contains("\"ended\""),
        "{ended}"
    );
    assert!(ended.contains("2026-11-20"), "{ended}");
    assert!(
        ending.contains("expires soon") && ending.contains("\"ending\""),
        "{ending}"
    );
    assert!(ending.contains("days=29"), "{ending}");
    assert!(
        unknown.contains("\"unknown\"") && unknown.contains("days=9"),
        "{unknown}"
    );
    drop(certificate);
    tokio::task::yield_now().await;
    ambient.clock.advance(DAY);
    let days = lines.read(6).await;
    assert_eq!(days.len(), 6, "{days:#?}");
    assert!(days[5].contains("\"later\"") && days[5].contains("days=30"));
    reminders.abort();
}
