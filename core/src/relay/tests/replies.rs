//! Replies, over the persistent connection and by `POST`.

use super::*;
use crate::notify::{NotifyOptions, ReplyRefusal};
use crate::relay::To;
use core::time::Duration;

fn notify(rig: &mut Rig<Relay>, to: To) -> NotificationId {
    let now = rig.now;
    let id = rig
        .endpoint
        .notify(now, to, b"ping", NotifyOptions::default())
        .unwrap();
    rig.poll();
    id
}

fn kept(rig: &Rig<Relay>, id: NotificationId) -> Vec<(ClientId, Vec<u8>)> {
    let replies = rig.endpoint.replies(id);
    replies
        .map(|reply| (reply.client, reply.payload.into()))
        .collect()
}

#[test]
fn a_frame_is_confirmed_once_for_each_time_it_comes() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    let id = notify(&mut rig, To::Client(peer.id));
    said(&mut rig, conn);
    for _ in 0..2 {
        rig.feed_split(conn, &reply_frame(id, b"pong"));
        assert_eq!(said(&mut rig, conn), [Said::Taken(id)]);
    }
    rig.feed(conn, &reply_frame(id, b"another"));
    assert_eq!(said(&mut rig, conn), [Said::Taken(id)]);
    assert_eq!(
        kept(&rig, id),
        [(peer.id, b"pong".into())],
        "the first one stands"
    );
    let client = peer.id;
    let replied = Event::Replied {
        notification: id,
        client,
    };
    assert_eq!(
        rig.told().iter().filter(|event| **event == replied).count(),
        1
    );
    assert_eq!(count(&rig, |stats| stats.replies), 1);
}

#[test]
fn many_at_once_are_all_confirmed() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    let ids: Vec<_> = (0..200)
        .map(|_| notify(&mut rig, To::Client(peer.id)))
        .collect();
    said(&mut rig, conn);
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|id| reply_frame(*id, b"pong"))
        .collect();
    rig.feed(conn, &bytes);
    let expected: Vec<_> = ids.iter().map(|id| Said::Taken(*id)).collect();
    assert_eq!(said(&mut rig, conn), expected);
}

#[test]
fn while_confirmations_wait_no_more_is_taken() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    rig.wire(conn).blocks = true;
    let ids: Vec<_> = (0..20)
        .map(|_| notify(&mut rig, To::Client(peer.id)))
        .collect();
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|id| reply_frame(*id, b"pong"))
        .collect();
    rig.feed(conn, &bytes);
    assert!(!rig.wire(conn).held.is_empty());
    assert_eq!(rig.wire(conn).resumes, 1, "that of the opening");
    rig.writable(conn);
    assert!(rig.wire(conn).held.is_empty());
    let taken = said(&mut rig, conn);
    let taken = taken
        .iter()
        .filter(|said| matches!(said, Said::Taken(_)))
        .count();
    assert_eq!(taken, 20);
}

#[test]
fn a_post_is_answered_by_its_verdict() {
    let mut limits = Limits::default();
    limits.notifier.reply_bytes_max = 10;
    let mut rig = relay_with(settings(), limits);
    let mut peer = register(&mut rig);
    let other = register(&mut rig);
    let id = notify(&mut rig, To::Client(peer.id));
    let foreign = notify(&mut rig, To::Client(other.id));
    let unknown = NotificationId(id.0 + 100);
    for (id, payload, status) in [
        (id, &b"01234567890"[..], 413),
        (id, b"0123456789", 204),
        (id, b"again", 204),
        (foreign, b"x", 403),
        (unknown, b"x", 404),
    ] {
        let answer = peer.reply(&mut rig, id, payload);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let bytes = peer.request("POST", "/v1/replies/12", b"", "");
    assert_eq!(ask(&mut rig, &bytes).status, 404);
    let unproven = head("POST", &alloc::format!("/v1/replies/{id}"), "", b"x", "");
    assert_eq!(ask(&mut rig, &unproven).status, 401);
    assert_eq!(kept(&rig, id), [(peer.id, b"0123456789".into())]);
    let refused = rig.endpoint.stats().replies_refused;
    assert_eq!((refused.get("foreign"), refused.get("unknown")), (1, 2));
}

#[test]
fn a_frame_that_is_refused_is_confirmed_unless_there_is_no_room() {
    let mut limits = Limits::default();
    limits.notifier.replies_max = 1;
    limits.notifier.reply_bytes_max = 10;
    let mut rig = relay_with(settings(), limits);
    let mut peer = register(&mut rig);
    let other = register(&mut rig);
    let conn = peer.connect(&mut rig);
    let first = notify(&mut rig, To::All);
    let second = notify(&mut rig, To::All);
    let foreign = notify(&mut rig, To::Client(other.id));
    said(&mut rig, conn);
    let unknown = NotificationId(7);
    for (id, payload, why) in [
        (foreign, &b"x"[..], Some(ReplyRefusal::Foreign)),
        (unknown, b"x", Some(ReplyRefusal::Unknown)),
        (first, b"01234567890", Some(ReplyRefusal::TooLong)),
        (first, b"x", None),
    ] {
        rig.told();
        rig.feed(conn, &reply_frame(id, payload));
        assert_eq!(said(&mut rig, conn), [Said::Taken(id)]);
        let refused = rig.told().into_iter().find_map(|event| match event {
            Event::ReplyRefused { why, .. } => Some(why),
            _ => None,
        });
        assert_eq!(refused, why);
    }
    rig.feed(conn, &reply_frame(second, b"x"));
    assert_eq!(said(&mut rig, conn), [], "it is to be sent again");
    assert_eq!(peer.reply(&mut rig, second, b"x").status, 503);
    // With the notification its replies go, and there is room.
    rig.wait(Duration::from_secs(3_601));
    let third = notify(&mut rig, To::All);
    rig.feed(conn, &reply_frame(third, b"x"));
    assert!(said(&mut rig, conn).contains(&Said::Taken(third)));
}

#[test]
fn only_who_was_there_when_it_was_said_may_reply_to_what_went_to_all() {
    let mut rig = relay();
    let mut early = register(&mut rig);
    let id = notify(&mut rig, To::All);
    let mut late = register(&mut rig);
    // It may have come by a peer that has not confirmed it.
    assert_eq!(early.reply(&mut rig, id, b"x").status, 204);
    assert_eq!(late.inbox(&mut rig, None).status, 200);
    assert_eq!(late.reply(&mut rig, id, b"x").status, 403, "not a target");
    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent, status.replied), (1, 1, 1));
}

#[test]
fn p9_the_body_of_a_reply_in_vain_is_not_read() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let id = notify(&mut rig, To::Client(peer.id));
    let target = alloc::format!("/v1/replies/{id}");
    let used = peer.request("POST", &target, b"x", "");
    assert_eq!(ask(&mut rig, &used).status, 204);
    let mut stranger = register(&mut rig);
    stranger.id = ClientId([9; 16]);
    let unknown = stranger.request("POST", &target, b"x", "");
    let gone = peer.request("POST", "/v1/replies/0000000000000001", b"x", "");
    let unproven = head("POST", &target, "", b"x", "");
    for (bytes, status) in [(used, 409), (unknown, 401), (gone, 404), (unproven, 401)] {
        // The last byte, the body, never comes.
        let conn = rig.accept(LOOPBACK);
        rig.feed(conn, &bytes[..bytes.len() - 1]);
        let answer = response(&mut rig.wire(conn).written);
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[test]
fn replies_have_their_own_bytes() {
    let mut limits = Limits::default();
    limits.notifier.replies_bytes_max = 16;
    let mut rig = relay_with(settings(), limits);
    let mut peer = register(&mut rig);
    let mut other = register(&mut rig);
    let id = notify(&mut rig, To::All);
    assert_eq!(peer.inbox(&mut rig, None).status, 200);
    assert_eq!(other.inbox(&mut rig, None).status, 200);
    assert_eq!(peer.reply(&mut rig, id, &[0; 17]).status, 503);
    assert_eq!(peer.reply(&mut rig, id, &[0; 16]).status, 204);
    assert_eq!(other.reply(&mut rig, id, &[0; 1]).status, 503);
    assert_eq!(other.reply(&mut rig, id, b"").status, 204);
    assert_eq!(count(&rig, |stats| stats.notification_bytes), 20);
    // However many replies there are, more can be said.
    notify(&mut rig, To::All);
}
