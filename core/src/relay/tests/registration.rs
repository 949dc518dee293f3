//! `POST /v1/register`.

use super::*;
use crate::CloseReason;
use crate::registration::Refusal;
use core::time::Duration;

const PERIOD: Duration = Duration::from_secs(6 * 3_600);

fn post(rig: &mut Rig<Relay>, body: &[u8]) -> Response {
    ask(rig, &head("POST", "/v1/register", "", body, ""))
}

#[test]
fn the_first_one_gives_an_identity_and_later_ones_keep_it() {
    let mut rig = relay();
    let mut first = register(&mut rig);
    let before = first.clone();
    first.register_again(&mut rig);
    assert_eq!(before.id, first.id);
    assert!(before.key != first.key, "the key is a new one");
    let told = rig.told();
    let registered: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::Registered { client, new, .. } => Some((*client, *new)),
            _ => None,
        })
        .collect();
    assert_eq!(registered, [(first.id, true), (first.id, false)]);
    assert_eq!(count(&rig, |stats| stats.clients), 1);
    let second = register(&mut rig);
    assert_ne!(second.id, first.id);
}

#[test]
fn a_number_is_good_once() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    peer.register_again(&mut rig);
    for number in [1, 2] {
        let bytes = peer.registration(number);
        let answer = ask(&mut rig, &bytes);
        assert_eq!(answer.status, 409, "{number}: {answer:?}");
        assert_eq!(answer.json()["type"], "urn:tautline:problem:replayed");
    }
    assert_eq!(
        count(&rig, |stats| stats.registrations_refused.get("replayed")),
        2
    );
    // The key of the last one still holds.
    assert_eq!(peer.inbox(&mut rig, None).status, 200);
}

#[test]
fn a_forged_one_changes_nothing() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let good = String::from_utf8(peer.registration(2)).unwrap();
    let mut stranger = peer.clone();
    stranger.secret = ClientSecret([9; 32]);
    let forged = [
        stranger.registration(2),
        good.replace("web-1", "web-2").into_bytes(),
        good.replace("/v1/register", "/v1/register?x=1")
            .into_bytes(),
        good.replace("Authorization", "X-Authorization")
            .into_bytes(),
        good.replace(r#""registration":2"#, r#""registration":3"#)
            .into_bytes(),
    ];
    for bytes in forged {
        let answer = ask(&mut rig, &bytes);
        assert_eq!(answer.status, 401, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(answer.header("WWW-Authenticate"), Some("Tautline"));
    }
    assert_eq!(peer.inbox(&mut rig, None).status, 200);
    assert_eq!(ask(&mut rig, good.as_bytes()).status, 200);
}

#[test]
fn a_relay_that_lost_its_memory_knows_a_client_that_proves_itself() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let mut rig = relay();
    assert_eq!(peer.inbox(&mut rig, None).status, 401);
    peer.register_again(&mut rig);
    assert_eq!(peer.inbox(&mut rig, None).status, 200);
}

#[test]
fn a_body_that_is_none_is_refused() {
    let mut rig = relay();
    let long = alloc::format!(r#"{{"pad":"{}"}}"#, "x".repeat(17_000));
    for (text, status) in [
        ("", 400),
        ("null", 400),
        ("[]", 400),
        ("{", 400),
        (r#"{"protocol":1,"registration":1}"#, 400),
        (r#"{"protocol":2,"registration":1,"hostname":"a"}"#, 400),
        (r#"{"protocol":1,"registration":-1,"hostname":"a"}"#, 400),
        (r#"{"protocol":1,"registration":1e3,"hostname":"a"}"#, 400),
        (
            r#"{"protocol":1,"registration":1,"hostname":"a","client":"00"}"#,
            400,
        ),
        (
            r#"{"protocol":1,"registration":1,"hostname":"a","udp_port":65536}"#,
            400,
        ),
        (long.as_str(), 413),
    ] {
        let answer = post(&mut rig, text.as_bytes());
        assert_eq!(answer.status, status, "{text}");
        assert_eq!(
            answer.header("Content-Type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.json()["status"], status);
        let kind = answer.json()["type"].to_string();
        assert!(kind.starts_with("\"urn:tautline:problem:"), "{kind}");
    }
    let answer = post(&mut rig, long.as_bytes());
    let kind = "urn:tautline:problem:body-too-large";
    assert_eq!(answer.json()["type"], kind);
    assert_eq!(post(&mut rig, b"\xff").status, 400);
    assert_eq!(count(&rig, |stats| stats.clients), 0);
}

#[test]
fn names_and_addresses_are_bounded() {
    let mut rig = relay();
    let named =
        |name: &str| alloc::format!(r#"{{"protocol":1,"registration":1,"hostname":{name:?}}}"#);
    for (name, status) in [
        (String::new(), 400),
        ("a".into(), 200),
        ("x".repeat(255), 200),
        ("x".repeat(256), 400),
        ("größe-1".into(), 200),
    ] {
        let answer = post(&mut rig, named(&name).as_bytes());
        assert_eq!(answer.status, status, "{name}");
    }
    for escaped in ["a\\n", "\\u0000", "\\u007f", "\\u0085"] {
        let text = alloc::format!(r#"{{"protocol":1,"registration":1,"hostname":"{escaped}"}}"#);
        assert_eq!(post(&mut rig, text.as_bytes()).status, 400, "{escaped}");
    }
    let one = |prefix: u32| alloc::format!(r#"{{"address":"10.0.0.1","prefix":{prefix}}}"#);
    let some = |count: usize, prefix| {
        let list = alloc::vec![one(prefix); count].join(",");
        body(None, 1, &alloc::format!(r#","interfaces":[{list}]"#))
    };
    for (count, prefix, status) in [(32, 32, 200), (33, 24, 400), (1, 33, 400), (1, 256, 400)] {
        let answer = post(&mut rig, &some(count, prefix));
        assert_eq!(answer.status, status, "{count} {prefix}");
    }
}

#[test]
fn a_secret_travels_only_where_it_may() {
    let cases = [
        (LOOPBACK, false, false, 200),
        ("[::ffff:127.0.0.1]:1", false, false, 200),
        (ABROAD, false, false, 403),
        (ABROAD, true, false, 200),
        (ABROAD, false, true, 200),
    ];
    for (from, secure, allowed, status) in cases {
        let mut settings = settings();
        settings.registry.secrets_over_plaintext = allowed;
        let mut rig = relay_with(settings, Limits::default());
        let conn = rig.accept(from);
        let peer = from.parse().unwrap();
        rig.tell(crate::Input::Introduced { conn, peer, secure });
        rig.feed(
            conn,
            &head("POST", "/v1/register", "", &body(None, 1, ""), ""),
        );
        let answer = response(&mut rig.written(conn));
        assert_eq!(answer.status, status, "{from} {secure} {allowed}");
    }
    // A proxy on loopback speaks for a peer that is not.
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    let peer = ABROAD.parse().unwrap();
    rig.tell(crate::Input::Introduced {
        conn,
        peer,
        secure: false,
    });
    rig.feed(
        conn,
        &head("POST", "/v1/register", "", &body(None, 1, ""), ""),
    );
    assert_eq!(response(&mut rig.written(conn)).status, 403);
    let why = Refusal::SecretInClear;
    assert!(
        rig.told()
            .contains(&Event::RegistrationRefused { conn, why })
    );
}

#[test]
fn a_later_one_needs_no_secret_and_may_come_in_clear() {
    let mut rig = relay();
    let peer = register(&mut rig);
    let conn = rig.accept(ABROAD);
    let bytes = peer.registration(2);
    rig.feed(conn, &bytes);
    let answer = response(&mut rig.written(conn));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json().get("secret"), None);
}

#[test]
fn a_full_table_answers_503_and_takes_those_that_it_knows() {
    let mut limits = Limits::default();
    limits.registry.clients_max = 2;
    limits.registry.newcomers_max = Some(2);
    let mut rig = relay_with(settings(), limits);
    let mut first = register(&mut rig);
    register(&mut rig);
    let answer = post(&mut rig, &body(None, 1, ""));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(
        count(&rig, |stats| stats.registrations_refused.get("full")),
        1
    );
    first.register_again(&mut rig);
    rig.wait(4 * PERIOD);
    register(&mut rig);
}

#[test]
fn a_client_is_forgotten_after_three_periods() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    assert_eq!(peer.inbox(&mut rig, None).status, 200);
    rig.wait(3 * PERIOD);
    assert!(rig.endpoint.client(peer.id).is_some());
    rig.wait(PERIOD / 5);
    assert!(rig.told().contains(&Event::Forgotten { client: peer.id }));
    assert!(rig.endpoint.client(peer.id).is_none());
    let answer = peer.inbox(&mut rig, None);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["type"], "urn:tautline:problem:unknown-client");
}

#[test]
fn a_newcomer_that_never_uses_its_key_is_forgotten_soon() {
    let mut rig = relay();
    let mut used = register(&mut rig);
    let unused = register(&mut rig);
    rig.wait(Duration::from_secs(599));
    assert_eq!(used.inbox(&mut rig, None).status, 200);
    assert!(rig.endpoint.client(unused.id).is_some());
    rig.wait(Duration::from_secs(2));
    assert!(rig.told().contains(&Event::Forgotten { client: unused.id }));
    assert!(rig.endpoint.client(used.id).is_some());
    // It is known again as soon as it proves itself.
    let mut unused = unused;
    unused.register_again(&mut rig);
    assert_eq!(unused.inbox(&mut rig, None).status, 200);
    rig.wait(PERIOD);
    assert!(rig.endpoint.client(unused.id).is_some());
}

#[test]
fn a_connected_client_is_kept() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    rig.wait(10 * PERIOD);
    assert!(rig.endpoint.client(peer.id).is_some());
    rig.closed(conn, CloseReason::Reset);
    rig.wait(4 * PERIOD);
    assert!(rig.endpoint.client(peer.id).is_none());
}

#[test]
fn a_verdict_of_no_has_its_reason() {
    let mut rig = relay();
    let text = br#"{"protocol":1,"registration":1,"hostname":"a"}"#;
    let verdict = post(&mut rig, text).json()["persistent_connection"].clone();
    assert_eq!(verdict["granted"], false);
    assert_eq!(verdict["reason"], "not_asked");

    let mut settings = settings();
    settings.registry.persistent_connections = false;
    let mut rig = relay_with(settings, Limits::default());
    let verdict = post(&mut rig, &body(None, 1, "")).json()["persistent_connection"].clone();
    assert_eq!(verdict["reason"], "disabled");
}

#[test]
fn however_it_is_cut_the_answer_is_the_same() {
    let bytes = head("POST", "/v1/register", "", &body(None, 1, ""), "");
    let mut whole = relay();
    let conn = whole.accept(LOOPBACK);
    whole.feed(conn, &bytes);
    let mut split = relay();
    let conn = split.accept(LOOPBACK);
    split.feed_split(conn, &bytes);
    assert_eq!(whole.written(conn), split.written(conn));
    assert_eq!(whole.told(), split.told());
}
