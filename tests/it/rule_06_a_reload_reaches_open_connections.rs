//! Rule 6: a reload reaches open connections at their next request; one request sees one configuration; a bad file keeps the last good.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flowgate::app::reload::Reloader;
use flowgate::config::{self, Secrets};
use http::{Request, StatusCode};
use simulator::{Fault, FaultPoint, Gate, Times};
use tokio::signal::unix::{SignalKind, signal};

use crate::frames;
use crate::house::{BASE, House, KEY, environment, eventually};
use crate::process::{self, Gateway};
use crate::wire::Line;
use testkit::soon;

const OTHER_KEY: &str = "another-key-of-at-least-16-bytes";

/// The base with another key for `erp`: the old one is gone.
fn rekeyed() -> String {
    BASE.replace("{ env: ERP_KEY }", &format!("\"{OTHER_KEY}\""))
}

fn call(key: &str) -> String {
    format!(
        "POST /order-created HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\nContent-Length: 2\r\n\r\n{{}}"
    )
}

fn order(key: &str) -> Request<&'static str> {
    Request::post("/order-created")
        .header("x-api-key", key)
        .body("{}")
        .unwrap()
}

#[tokio::test]
async fn a_key_removed_by_a_reload_is_refused_on_connections_that_are_open() {
    let house = House::standard().await;
    let mut http1 = Line::open(house.address).await;
    let mut http2 = frames::caller(house.address).await;
    let mut ask = async |key: &str| {
        http1.write(call(key)).await;
        let first = http1.answer().await.unwrap().status;
        let request = Request::post(format!("http://{}/order-created", house.address))
            .header("x-api-key", key);
        let (answer, _) = http2.send_request(request.body(()).unwrap(), true).unwrap();
        (first, soon(answer).await.unwrap().status())
    };
    assert_eq!(ask(KEY).await, (StatusCode::OK, StatusCode::OK));
    house.reload(&rekeyed());
    assert_eq!(
        ask(KEY).await,
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(ask(OTHER_KEY).await, (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn a_slow_call_is_served_to_its_end_by_the_configuration_it_began_with() {
    let house = House::standard().await;
    let gate = Gate::closed();
    house.simulator.fault(
        FaultPoint::Run("order-created".into()),
        Fault::Held(gate.clone()),
        Times::Once,
    );
    // One waits for the flow, one for the rest of its own body.
    let mut waiting = Line::open(house.address).await;
    waiting.write(call(KEY)).await;
    soon(
        house
            .simulator
            .until(|simulator| simulator.runs("order-created") == 1),
    )
    .await;
    let mut sending = Line::open(house.address).await;
    let head = call(KEY).replace(
        "Content-Length: 2\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\n",
    );
    sending.write(head + "4\r\nhalf\r\n").await;
    eventually(|| house.app.in_flight() == 2).await;

    // The caller is gone, its key is another's, the flow is somewhere else and takes another method.
    let other = rekeyed()
        .replace("  erp:", "  sap:")
        .replace("[erp", "[sap")
        .replace(
            "url: { env: ORDER_CREATED_URL }",
            "url: { env: REPORT_URL }\n    methods: [PUT]",
        );
    house.reload(&other);
    assert_eq!(
        house.send(order(KEY)).await.status,
        StatusCode::UNAUTHORIZED
    );

    gate.open();
    assert_eq!(waiting.answer().await.unwrap().status, StatusCode::OK);
    sending.write("4\r\nbody\r\n0\r\n\r\n").await;
    assert_eq!(sending.answer().await.unwrap().status, StatusCode::OK);
    assert_eq!(house.simulator.runs("order-created"), 2);
    let received = house.simulator.received();
    assert_eq!(received.len(), 2);
    for seen in &received {
        assert_eq!(
            (seen.flow.as_str(), seen.header("flowgate-caller")),
            ("order-created", Some("erp"))
        );
    }
    assert_eq!(received[1].body, Bytes::from_static(b"halfbody"));
    let lines = house.access_lines(3).await;
    let callers: Vec<_> = lines
        .iter()
        .map(|line| line["caller"].as_str().unwrap())
        .collect();
    assert_eq!(callers, ["-", "erp", "erp"]);
}

/// A house whose configuration is the file `flowgate.yaml` of a folder, and its reloader.
async fn from_files(folder: &Path) -> (House, Reloader) {
    let simulator = House::simulator().await;
    let file = folder.join("flowgate.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    let at = folder.to_str().unwrap();
    let house = House::around(simulator, &yaml, &[("AT", at)]).await;
    let paths = vec![file];
    let config = config::load(
        &paths,
        &house.ambient.environment,
        &house.ambient.clock,
        Secrets::Required,
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    let reloader = Reloader::new(
        Arc::clone(&house.app),
        paths,
        house.ambient.clone(),
        house.metrics.clone(),
        &config,
    );
    (house, reloader)
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// The base with `erp`'s key in a file.
fn keyed_by_file() -> String {
    BASE.replace("{ env: ERP_KEY }", "{ file: \"${AT}/erp.key\" }")
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "erp.key", KEY);
    write(at, "flowgate.yaml", &keyed_by_file());
    let (house, mut reloader) = from_files(at).await;
    let good = keyed_by_file();
    let mut failed = 0.0;
    for bad in [
        "",
        "flows:",
        "\u{0}",
        "callers: [",
        &good.replace("who_can_trigger", "who_can_triger"),
        &good.replace("[erp, billing]", "[erp, nobody]"),
        &good.replace("erp.key", "missing.key"),
        &good.replace("env: REPORT_URL", "env: NO_SUCH_URL"),
        &good[..good.len() / 2],
    ] {
        write(at, "flowgate.yaml", bad);
        reloader.reload().await;
        failed += 1.0;
        assert_eq!(
            house.metric("flowgate_config_reloads_total", &[("result", "failed")]),
            failed,
            "{bad}"
        );
        assert_eq!(
            house.metric("flowgate_config_last_reload_success", &[]),
            0.0
        );
        assert_eq!(house.send(order(KEY)).await.status, StatusCode::OK);
    }
    std::fs::remove_file(at.join("flowgate.yaml")).unwrap();
    reloader.reload().await;
    assert_eq!(house.send(order(KEY)).await.status, StatusCode::OK);
    // And the next good one counts again.
    write(at, "erp.key", OTHER_KEY);
    write(at, "flowgate.yaml", &good);
    reloader.reload().await;
    assert_eq!(
        house.metric("flowgate_config_last_reload_success", &[]),
        1.0
    );
    assert_eq!(
        house.metric("flowgate_config_reloads_total", &[("result", "ok")]),
        1.0
    );
    assert_eq!(
        house.send(order(KEY)).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(house.send(order(OTHER_KEY)).await.status, StatusCode::OK);
    // Tokens and connections outlive a reload that does not concern them.
    assert_eq!(house.simulator.token_requests().len(), 1);
}

/// Waits until `other` is `erp`'s key, and then `key` is not.
async fn changes_to(house: &House, other: &str, key: &str) {
    soon(async { while house.send(order(other)).await.status != StatusCode::OK {} }).await;
    assert_eq!(
        house.send(order(key)).await.status,
        StatusCode::UNAUTHORIZED
    );
}

fn watching(reloader: Reloader) -> tokio::task::JoinHandle<()> {
    let hangups = signal(SignalKind::hangup()).unwrap();
    tokio::spawn(reloader.run(hangups))
}

#[tokio::test]
async fn a_changed_file_is_seen_whether_it_is_a_secret_or_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "erp.key", KEY);
    write(at, "flowgate.yaml", &keyed_by_file());
    let (house, reloader) = from_files(at).await;
    let watch = watching(reloader);
    // In place, as `echo > file` does.
    write(at, "erp.key", OTHER_KEY);
    changes_to(&house, OTHER_KEY, KEY).await;
    // By a new file of the same name, as editors do.
    write(at, ".flowgate.yaml.swp", BASE);
    std::fs::rename(at.join(".flowgate.yaml.swp"), at.join("flowgate.yaml")).unwrap();
    changes_to(&house, KEY, OTHER_KEY).await;
    watch.abort();
}

#[tokio::test]
async fn a_kubernetes_volume_that_swaps_its_link_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // A mounted Secret: files are links into `..data`, which is a link to a folder of one version.
    let version = |name: &str, key: &str| {
        std::fs::create_dir(at.join(name)).unwrap();
        write(at, &format!("{name}/erp.key"), key);
        write(at, &format!("{name}/flowgate.yaml"), &keyed_by_file());
    };
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, at.join(from)).unwrap();
    version("..2026_11_01", KEY);
    link("..2026_11_01", "..data");
    link("..data/erp.key", "erp.key");
    link("..data/flowgate.yaml", "flowgate.yaml");
    let (house, reloader) = from_files(at).await;
    let watch = watching(reloader);
    assert_eq!(house.send(order(KEY)).await.status, StatusCode::OK);
    for (name, key, old) in [
        ("..2026_11_02", OTHER_KEY, KEY),
        ("..2026_11_03", KEY, OTHER_KEY),
    ] {
        version(name, key);
        link(name, "..data_tmp");
        std::fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
        changes_to(&house, key, old).await;
    }
    watch.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_reads_its_configuration_again_on_sighup_and_survives_a_bad_one() {
    let simulator = House::simulator().await;
    let yaml = format!(
        "admin: {{ listen: \"${{ADMIN}}\" }}\n{}",
        BASE.replace("127.0.0.1:8080", "${LISTEN}")
    );
    let variables: Vec<(String, String)> = variables(&simulator);
    let mut gateway = Gateway::start(&yaml, &variables);
    let reloads = |gateway: &Gateway, result: &str| {
        let page = process::page(gateway.admin, "/metrics").unwrap();
        let wanted = format!("flowgate_config_reloads_total{{result=\"{result}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&wanted));
        line.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    let mut open = Line::open(gateway.address).await;
    open.write(call(KEY)).await;
    assert_eq!(open.answer().await.unwrap().status, StatusCode::OK);

    // Nothing has changed, so only the signal can be why.
    gateway.process.hang_up();
    eventually(|| reloads(&gateway, "ok") == 1).await;

    std::fs::write(
        &gateway.file,
        yaml.replace("[erp, billing]", "[erp, nobody]"),
    )
    .unwrap();
    gateway.process.hang_up();
    eventually(|| reloads(&gateway, "failed") >= 1).await;
    open.write(call(KEY)).await;
    assert_eq!(open.answer().await.unwrap().status, StatusCode::OK);
    eventually(|| {
        let said = gateway.process.said();
        said.contains("the last good one stays in force")
    })
    .await;

    let other = yaml.replace("{ env: ERP_KEY }", &format!("\"{OTHER_KEY}\""));
    std::fs::write(&gateway.file, other).unwrap();
    gateway.process.hang_up();
    eventually(|| reloads(&gateway, "ok") >= 2).await;
    open.write(call(KEY)).await;
    assert_eq!(
        open.answer().await.unwrap().status,
        StatusCode::UNAUTHORIZED
    );

    gateway.process.terminate();
    assert!(gateway.process.ended().success());
    for secret in [
        KEY,
        OTHER_KEY,
        &simulator.client_secret(simulator::directory::GATEWAY_APP),
    ] {
        assert!(!gateway.process.said().contains(secret));
    }
}

/// The house's variables as a process takes them.
fn variables(simulator: &simulator::Simulator) -> Vec<(String, String)> {
    let environment = environment(simulator, &[]);
    [
        "AUTHORITY",
        "TENANT",
        "API",
        "CALLER_APP",
        "GATEWAY_APP",
        "CLIENT_SECRET",
        "ERP_KEY",
        "ORDER_CREATED_URL",
        "REPORT_URL",
        "LEGACY_URL",
    ]
    .map(|name| (name.to_owned(), environment.value(name).unwrap()))
    .to_vec()
}
