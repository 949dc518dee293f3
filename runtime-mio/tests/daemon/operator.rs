//! The operator's paths, the page, health and metrics.

use crate::process::Daemon;

fn daemon() -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    (dir, daemon)
}

#[test]
fn the_greeting_says_what_to_do_next() {
    let (_dir, daemon) = daemon();
    let base = format!("http://{}", daemon.address);
    assert!(
        daemon
            .greeting
            .contains(&format!("tautline agent --relay {base}"))
    );
    assert!(daemon.greeting.contains("tautline notify"));
}

#[test]
fn operator_paths_need_the_token() {
    let (_dir, daemon) = daemon();
    let wrong = "0".repeat(64);
    for (method, path) in [
        ("GET", "/v1/status"),
        ("GET", "/v1/clients"),
        ("GET", "/v1/subnets"),
        ("GET", "/v1/notifications/0000000000000001/missing"),
        ("POST", "/v1/notifications"),
        ("GET", "/v1/notifications/0000000000000001"),
    ] {
        for token in [None, Some(wrong.as_str()), Some("")] {
            let answer = daemon.ask(method, path, token, "");
            assert_eq!(answer.status, 401, "{method} {path} {token:?}");
            assert!(answer.has_header("WWW-Authenticate: Bearer realm=\"tautline\""));
            assert_eq!(answer.json()["status"], 401);
        }
    }
    assert_eq!(daemon.get("/v1/status").status, 200);
}

#[test]
fn health_metrics_and_page_need_none() {
    let (_dir, daemon) = daemon();
    for (path, content_type) in [
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        (
            "/metrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = daemon.ask("GET", path, None, "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.has_header(&format!("Content-Type: {content_type}")),
            "{}",
            answer.head
        );
        let head = daemon.ask("HEAD", path, None, "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    let metrics = daemon.ask("GET", "/metrics", None, "").body;
    assert!(metrics.contains("\ntautline_accepted_total 1"), "{metrics}");
    assert!(metrics.contains("\nprocess_open_fds "), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() {
    let (_dir, daemon) = daemon();
    let page = daemon.ask("GET", "/", None, "");
    assert!(
        page.head
            .contains("Content-Security-Policy: default-src 'none'; script-src 'self'")
    );
    assert!(!page.head.contains("unsafe-inline"));
    for forbidden in ["http://", "https://", "onclick", "<script>", "style="] {
        assert!(!page.body.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn other_paths_and_methods_are_told_as_problems() {
    let (_dir, daemon) = daemon();
    let missing = daemon.get("/v2/everything");
    assert_eq!(
        (missing.status, missing.json()["title"].as_str()),
        (404, Some("Not Found"))
    );
    assert_eq!(missing.json()["type"], "urn:tautline:problem:no-path");
    assert!(missing.has_header("Content-Type: application/problem+json"));
    for (method, path, allowed) in [
        ("POST", "/v1/clients", "GET, HEAD"),
        ("GET", "/v1/notifications", "POST"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/v1/register", "POST"),
    ] {
        let answer = daemon.ask(method, path, Some(&daemon.token), "");
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.json()["type"], "urn:tautline:problem:method");
        assert!(
            answer.has_header(&format!("Allow: {allowed}")),
            "{}",
            answer.head
        );
    }
}

#[test]
fn notifications_that_cannot_be_are_refused() {
    let (_dir, daemon) = daemon();
    let client = "0".repeat(32);
    let too_long = "a".repeat(65_537);
    for (body, status, name) in [
        ("{}".to_owned(), 400, "malformed"),
        ("not json".to_owned(), 400, "malformed"),
        ("{\"target\":{\"all\":true}}".to_owned(), 400, "malformed"),
        (
            "{\"target\":{\"all\":true},\"payload\":\"x\",\"lifetime_s\":0}".to_owned(),
            400,
            "lifetime",
        ),
        (
            format!("{{\"target\":{{\"client\":\"{client}\"}},\"payload\":\"x\"}}"),
            404,
            "no-client",
        ),
        (
            "{\"target\":{\"subnet\":\"10.0.0.0/24\"},\"payload\":\"x\"}".to_owned(),
            404,
            "no-subnet",
        ),
        (
            "{\"target\":{\"subnet\":\"10.0.0.0/33\"},\"payload\":\"x\"}".to_owned(),
            400,
            "malformed",
        ),
        (
            "{\"target\":{\"site\":\"rome\"},\"payload\":\"x\"}".to_owned(),
            404,
            "no-site",
        ),
        (
            format!("{{\"target\":{{\"all\":true}},\"payload\":\"{too_long}\"}}"),
            413,
            "too-long",
        ),
        ("[".repeat(100_000), 400, "malformed"),
        (" ".repeat((1 << 20) + 1), 413, "body-too-large"),
    ] {
        let answer = daemon.post("/v1/notifications", &body);
        assert_eq!(answer.status, status, "{}", answer.body);
        let kind = format!("urn:tautline:problem:{name}");
        assert_eq!(answer.json()["type"], kind);
        assert!(answer.has_header("Content-Type: application/problem+json"));
    }
    let unknown = daemon.get("/v1/notifications/00000000000000ff");
    assert_eq!(unknown.status, 404);
    for path in [
        "ff",
        "ff/missing",
        "00000000000000ff/missing",
        "00000000000000ff/present",
    ] {
        let answer = daemon.get(&format!("/v1/notifications/{path}"));
        assert_eq!(answer.status, 404, "{path}");
    }
    for query in [
        "limit=x",
        "state=closed",
        "stat=open",
        "subnet=here",
        "site=rome",
        "limit=1&limit=2",
    ] {
        let answer = daemon.get(&format!("/v1/clients?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
    }
}
