//! `GET /v1/inbox`.

use super::*;
use crate::notify::NotifyOptions;
use crate::notify::body::{Inbox, decode_payload};
use crate::relay::To;
use core::time::Duration;

fn notify(rig: &mut Rig<Relay>, to: To, payload: &[u8]) -> NotificationId {
    let now = rig.now;
    rig.endpoint
        .notify(now, to, payload, NotifyOptions::default())
        .unwrap()
}

fn read(answer: &Response) -> Inbox {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

fn ids(inbox: &Inbox) -> Vec<NotificationId> {
    inbox
        .notifications
        .iter()
        .map(|item| item.notification)
        .collect()
}

#[test]
fn it_shows_what_came_after_and_counts_it_as_sent_once() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let other = register(&mut rig);
    let first = notify(&mut rig, To::All, b"first");
    notify(&mut rig, To::Client(other.id), b"foreign");
    let second = notify(&mut rig, To::Client(peer.id), b"\x00\xff");
    rig.wait(Duration::from_secs(500));
    let inbox = read(&peer.inbox(&mut rig, None));
    assert_eq!(inbox.incarnation, 3);
    assert_eq!(ids(&inbox), [first, second]);
    assert!(!inbox.more);
    assert_eq!(inbox.notifications[0].lifetime_s, 3_100);
    let payload = decode_payload(&inbox.notifications[1].payload_base64);
    assert_eq!(payload.as_deref(), Some(&b"\x00\xff"[..]));
    assert_eq!(rig.endpoint.notification(first).unwrap().sent, 1);
    assert_eq!(ids(&read(&peer.inbox(&mut rig, Some(first)))), [second]);
    assert_eq!(ids(&read(&peer.inbox(&mut rig, Some(second)))), []);
    assert_eq!(rig.endpoint.notification(second).unwrap().sent, 1);
    assert_eq!(ids(&read(&peer.inbox(&mut rig, None))), [], "all were sent");
}

#[test]
fn it_is_paged_by_count() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let all: Vec<_> = (0..70).map(|_| notify(&mut rig, To::All, b"x")).collect();
    let mut seen = Vec::new();
    for more in [true, true, false] {
        let inbox = read(&peer.inbox(&mut rig, seen.last().copied()));
        assert_eq!(inbox.more, more);
        seen.extend(ids(&inbox));
    }
    assert_eq!(seen, all);
}

#[test]
fn it_is_paged_by_bytes() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let all: Vec<_> = (0..5)
        .map(|_| notify(&mut rig, To::All, &[1; 65_536]))
        .collect();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let inbox = read(&peer.inbox(&mut rig, seen.last().copied()));
        assert!(!inbox.notifications.is_empty());
        seen.extend(ids(&inbox));
    }
    assert_eq!(seen, all);
}

#[test]
fn the_largest_payload_fits_whatever_the_limit_of_answers() {
    let mut limits = Limits::default();
    limits.http.response_bytes_max = 2_048;
    let mut rig = relay_with(settings(), limits);
    let mut peer = register(&mut rig);
    let id = notify(&mut rig, To::All, &[1; 65_536]);
    assert_eq!(ids(&read(&peer.inbox(&mut rig, None))), [id]);
}

#[test]
fn it_needs_a_proof() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let bytes = peer.request("GET", "/v1/inbox", b"", "");
    assert_eq!(get(&mut rig, "/v1/inbox").status, 401);
    assert_eq!(ask(&mut rig, &bytes).status, 200);
    assert_eq!(ask(&mut rig, &bytes).status, 409, "the counter was used");
}
