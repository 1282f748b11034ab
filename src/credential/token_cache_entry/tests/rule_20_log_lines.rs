//! Rule 20 and design decision 12: what is logged of a failing credential, and how often.

use std::io;

use tracing_subscriber::fmt::MakeWriter;

use super::*;

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
    /// The lines of this module, from `info` on.
    fn read(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter(|line| {
                line.contains("credential::token_cache_entry") && !line.contains("DEBUG")
            })
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test]
async fn a_failure_is_logged_when_it_changes_and_when_it_is_over_and_no_line_holds_a_token() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _scope = tracing::subscriber::set_default(subscriber);
    let stage = stage([down(), down(), down(), refused(), refused()]);
    for (attempt, wait) in [(1, 1), (2, 2), (3, 4), (4, 300), (5, 300)] {
        stage.attempts(attempt).await;
        stage.advance(wait);
    }
    stage.attempts(6).await;
    stage.entry.token().await.unwrap();
    let read = lines.read();
    let [first, second, third] = read.as_slice() else {
        panic!("{read:#?}");
    };
    assert!(
        first.contains("no new token") && first.contains("connect"),
        "{first}"
    );
    assert!(
        second.contains("invalid_client") && second.contains("7000215"),
        "{second}"
    );
    assert!(second.contains("next_try_seconds=300"), "{second}");
    assert!(
        second.contains("the client secret is wrong")
            && second.contains("fault=\"configuration\"")
            && second.contains("put the secret's *value* in place"),
        "{second}"
    );
    assert!(first.contains("fault=\"network\""), "{first}");
    assert!(
        third.contains("token requests succeed again") && third.contains("failed=5"),
        "{third}"
    );
    let everything = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!everything.contains("token-6"), "{everything}");
}
