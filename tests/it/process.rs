//! The real binary as its users start it: `flowgate serve` with a configuration file, and `flowgate simulate` in front of which it is.
//!
//! In: a configuration with `${LISTEN}` and `${ADMIN}` where its two ports belong. Out: a process that is ready, what it says, and how it ends.
//! Dropping it kills it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::tools;
use serde_json::Value;

/// Long enough for any machine; only a hang takes longer.
const HANG: Duration = Duration::from_secs(30);

/// What becomes of one output stream of a process.
pub enum Output {
    /// It can be asked for with [`Process::said`].
    Collected,
    /// A pipe that nobody reads before [`Process::read_on`]: 64 KiB fit.
    Unread,
    /// A pipe whose reader is gone.
    Closed,
    /// This file.
    File(std::fs::File),
}

impl Output {
    fn stdio(&mut self) -> Stdio {
        match self {
            Self::File(file) => Stdio::from(file.try_clone().unwrap()),
            Self::Collected | Self::Unread | Self::Closed => Stdio::piped(),
        }
    }
}

/// A running process and what it has said so far.
pub struct Process {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    unread: Vec<Box<dyn std::io::Read + Send>>,
}

impl Process {
    /// Starts the binary with these arguments and variables, and no others that could change what it does.
    pub fn start(arguments: &[&str], environment: &[(String, String)]) -> Self {
        Self::spawn(&mut command(arguments, environment))
    }

    fn spawn(command: &mut Command) -> Self {
        Self::into(command, Output::Collected, Output::Collected)
    }

    /// Starts a command whose standard output and standard error go where the test says.
    pub fn into(command: &mut Command, mut out: Output, mut err: Output) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out.stdio())
            .stderr(err.stdio())
            .spawn()
            .expect("the binary starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (mut readers, mut unread) = (Vec::new(), Vec::new());
        let mut take = |from: Option<Box<dyn std::io::Read + Send>>, to: &Output| {
            let Some(from) = from else { return };
            match to {
                Output::Collected => readers.push(collect(from, &said)),
                Output::Unread => unread.push(from),
                Output::Closed | Output::File(_) => {}
            }
        };
        take(child.stdout.take().map(|from| Box::new(from) as _), &out);
        take(child.stderr.take().map(|from| Box::new(from) as _), &err);
        Self {
            child,
            said,
            readers,
            unread,
        }
    }

    /// From now on reads what nobody has read.
    pub fn read_on(&mut self) {
        for from in self.unread.drain(..) {
            self.readers.push(collect(from, &self.said));
        }
    }

    /// A line of `/proc/PID/io`, e.g. `rchar`: bytes it has read so far. `None` once it has ended or lets nobody look.
    pub fn io(&self, name: &str) -> Option<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.id())).ok()?;
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line?.parse().ok()
    }

    /// Standard output and standard error so far, as they came.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Waits until it has said this.
    pub fn says(&mut self, text: &str) {
        self.until(text, |process| process.said().contains(text).then_some(()));
    }

    /// Waits until it has said a line that begins like this; that line, whatever the other stream put before it.
    pub fn line(&mut self, beginning: &str) -> String {
        self.until(beginning, |process| {
            let said = process.said();
            let (line, _) = said.get(said.find(beginning)?..)?.split_once('\n')?;
            Some(line.to_owned())
        })
    }

    /// Waits until it has said a JSON line like this.
    pub fn until_line(&mut self, mut like: impl FnMut(&Value) -> bool) -> Value {
        self.until("such line", |process| {
            let said = process.said();
            let lines = said
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.into_iter().find(|line| like(line))
        })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as an orchestrator does.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Asks it to read its configuration again.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits until it has ended and everything it said is here.
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < HANG, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let over = self.child.try_wait().unwrap();
            assert!(
                over.is_none() && began.elapsed() < HANG,
                "no {what}:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with these arguments and variables, and no others that could change what it does.
pub fn command(arguments: &[&str], environment: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().cloned());
    command
}

fn collect(
    mut from: impl std::io::Read + Send + 'static,
    said: &Arc<Mutex<Vec<u8>>>,
) -> std::thread::JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            said.lock().unwrap().extend_from_slice(&piece[..length]);
        }
    })
}

/// An address nobody listens on at this moment.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// `flowgate simulate`, and what it prints for its users.
pub struct Simulated {
    pub process: Process,
    pub address: SocketAddr,
    /// The variables of its `export` lines.
    pub environment: Vec<(String, String)>,
    /// The configuration it offers.
    pub configuration: String,
}

impl Simulated {
    /// On a free port, with these arguments more.
    pub fn start(more: &[&str]) -> Self {
        let address = free();
        let listen = address.to_string();
        let arguments = [&["simulate", "--listen", &listen], more].concat();
        let mut process = Process::start(&arguments, &[]);
        let printed = process.until("instructions", |process| {
            Some(process.said()).filter(|said| said.contains("Ctrl-C ends it"))
        });
        let environment = printed
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        let start = printed.find("defaults:\n").unwrap();
        let end = start + printed[start..].find("\n# ").unwrap();
        Self {
            process,
            address,
            environment,
            configuration: printed[start..end].to_owned(),
        }
    }

    /// A variable it exports.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no variable {name}")).1
    }
}

/// `flowgate serve`.
pub struct Gateway {
    pub process: Process,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Its configuration.
    pub file: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Gateway {
    /// Writes the configuration into a file, starts, and returns once the admin port says that it is ready.
    pub fn start(yaml: &str, environment: &[(String, String)]) -> Self {
        Self::into(yaml, environment, Output::Collected, Output::Collected)
    }

    /// The same with its standard output and standard error going where they are told.
    pub fn into(yaml: &str, environment: &[(String, String)], out: Output, err: Output) -> Self {
        Self::placed(yaml, environment, [free(), free()], [out, err])
    }

    /// The same at addresses of the test's own.
    pub fn start_at(
        yaml: &str,
        environment: &[(String, String)],
        address: SocketAddr,
        admin: SocketAddr,
    ) -> Self {
        let outputs = [Output::Collected, Output::Collected];
        Self::placed(yaml, environment, [address, admin], outputs)
    }

    fn placed(
        yaml: &str,
        environment: &[(String, String)],
        [address, admin]: [SocketAddr; 2],
        [out, err]: [Output; 2],
    ) -> Self {
        let (folder, file) = written(yaml);
        Self::of(
            file,
            Some(folder),
            environment,
            [address, admin],
            [out, err],
        )
    }

    /// The same in a folder that has the files which the configuration names. Its ports are free ones.
    pub fn in_folder(folder: &Path, yaml: &str) -> Self {
        let ports = "\nserver: { listen: \"${LISTEN}\" }\nadmin: { listen: \"${ADMIN}\" }\n";
        let file = folder.join("served.yaml");
        std::fs::write(&file, format!("{yaml}{ports}")).unwrap();
        let outputs = [Output::Collected, Output::Collected];
        Self::of(file, None, &[], [free(), free()], outputs)
    }

    fn of(
        file: PathBuf,
        folder: Option<tempfile::TempDir>,
        environment: &[(String, String)],
        [address, admin]: [SocketAddr; 2],
        [out, err]: [Output; 2],
    ) -> Self {
        let mut environment = environment.to_vec();
        environment.push(("LISTEN".into(), address.to_string()));
        environment.push(("ADMIN".into(), admin.to_string()));
        let arguments = ["serve", "--config", file.to_str().unwrap()];
        let mut process =
            Process::into(command(&arguments, &environment).process_group(0), out, err);
        process.until("readiness", |_| {
            page(admin, "/readyz").filter(|page| page.starts_with("HTTP/1.1 200"))
        });
        Self {
            process,
            address,
            admin,
            file,
            _folder: folder,
        }
    }
}

impl Gateway {
    /// The value of a series of `/metrics`, labels and all; `None`: there is none.
    pub fn series(&self, series: &str) -> Option<f64> {
        let page = page(self.admin, "/metrics")?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value?.parse().ok()
    }

    /// How many reloads ended like this.
    pub fn reloads(&self, result: &str) -> f64 {
        let series = format!("flowgate_config_reloads_total{{result=\"{result}\"}}");
        self.series(&series).unwrap_or_default()
    }

    /// Waits until so many reloads have ended like this.
    pub fn reloaded(&mut self, result: &str, count: f64) {
        let began = Instant::now();
        while self.reloads(result) < count {
            let said = self.process.said();
            assert!(began.elapsed() < HANG, "no {result} reload:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The body of an admin page.
    pub fn body(&self, path: &str) -> String {
        let page = page(self.admin, path).unwrap();
        page.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// The file of a configuration, in a folder of its own.
pub fn written(yaml: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flowgate.yaml");
    std::fs::write(&file, yaml).unwrap();
    (folder, file)
}

/// A page of an admin port, head and all; `None` while nobody answers.
pub fn page(admin: SocketAddr, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(admin).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Runs `curl` with these arguments; what it printed. `None`: there is none here, and the test is skipped.
pub fn curl(arguments: &[&str]) -> Option<String> {
    if !tools::here(&["curl"]) {
        return None;
    }
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--noproxy", "*"])
        .args(arguments)
        .stdin(Stdio::null());
    let output = tools::output(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Says that a test cannot be done here.
#[expect(clippy::print_stderr, reason = "a test that did nothing says so")]
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// A file's path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
