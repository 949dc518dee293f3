//! Notifications that come and replies that go, on whatever way.

use super::*;
use crate::Close;
use crate::wire::message::Ping;

fn small() -> Limits {
    let mut limits = Limits::default();
    limits.mailbox.notifications_max = 2;
    limits
}

fn ids(rig: &mut Rig<Client>) -> Vec<NotificationId> {
    notified(rig).into_iter().map(|(_, id)| id).collect()
}

#[test]
fn each_is_handed_out_once() {
    let (mut rig, conn) = with_line(Limits::default());
    for sequence in [1, 2, 2, 1, 3] {
        rig.feed_split(conn, &notification(sequence));
    }
    assert_eq!(ids(&mut rig), [nth(1), nth(2), nth(3)]);
}

#[test]
fn a_reply_is_sent_until_it_is_taken() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"pong");
    assert_eq!(said(&mut rig, conn), [Said::Reply(id, 4)]);
    rig.closed(conn, CloseReason::Reset);
    // Without the connection it goes by POST.
    assert_eq!(until_connect(&mut rig), Duration::ZERO);
    let control = connected(&mut rig);
    let asked = request(&mut rig, control);
    let target = alloc::format!("POST /v1/replies/{id} ");
    assert!(
        asked.starts_with(&target) && asked.ends_with("\r\n\r\npong"),
        "{asked}"
    );
    respond(&mut rig, control, 503, b"");
    assert!(rig.told().contains(&failed("reply", Failure::Status(503))));
    // The registration that follows the loss comes first, then the reply.
    let mut asked = String::new();
    for _ in 0..5 {
        until_connect(&mut rig);
        let conn = connected(&mut rig);
        asked = request(&mut rig, conn);
        if asked.starts_with("POST /v1/register ") {
            respond(&mut rig, conn, 200, &text(&answer(false, false)));
            asked = request(&mut rig, conn);
        }
        if asked.starts_with(&target) {
            respond(&mut rig, conn, 204, b"");
            assert!(!request(&mut rig, conn).contains("/v1/replies/"));
            return;
        }
    }
    panic!("{asked}");
}

#[test]
fn a_reply_that_is_refused_for_good_holds_up_no_other() {
    for (status, is_final) in [(403, true), (404, true), (413, true), (500, false)] {
        let mut rig = registered(client(), false);
        until_connect(&mut rig);
        let conn = connected(&mut rig);
        rig.written(conn);
        respond(&mut rig, conn, 200, &inbox(&[1, 2], false));
        let told = notified(&mut rig);
        for (handle, _) in &told {
            reply(&mut rig, *handle, b"pong");
        }
        assert_eq!(until_connect(&mut rig), Duration::ZERO);
        let conn = connected(&mut rig);
        let asked = request(&mut rig, conn);
        let first = alloc::format!("POST /v1/replies/{} ", told[0].1);
        assert!(asked.starts_with(&first), "{asked}");
        respond(&mut rig, conn, status, b"");
        assert_eq!(rig.told(), [failed("reply", Failure::Status(status))]);
        let asked = request(&mut rig, conn);
        let second = alloc::format!("POST /v1/replies/{} ", told[1].1);
        assert_eq!(asked.starts_with(&second), is_final, "{status}: {asked}");
        if is_final {
            respond(&mut rig, conn, 204, b"");
            assert_eq!(request(&mut rig, conn), "", "the first goes no more");
        } else {
            assert_eq!(until_connect(&mut rig), MINUTE, "it rests");
        }
    }
}

/// The relay has no room for replies for as long as one waits: the client
/// stays with it, and what it is told comes through.
#[test]
fn a_reply_without_room_holds_up_neither_others_nor_the_inbox() {
    let mut settings = settings();
    let mut other = settings.relays[0].clone();
    other.host = "other".into();
    settings.relays.push(other);
    let mut rig = registered(client_with(settings, Limits::default()), false);
    until_connect(&mut rig);
    let conn = connected(&mut rig);
    rig.written(conn);
    respond(&mut rig, conn, 200, &inbox(&[1, 2], false));
    let told = notified(&mut rig);
    for (handle, _) in &told {
        reply(&mut rig, *handle, b"pong");
    }
    let start = rig.now;
    let (mut refused, mut inboxes, mut newest) = (0, 0, 2);
    while rig.now < start + 40 * MINUTE {
        until_connect(&mut rig);
        assert_eq!(rig.connects[0].1, "relay", "it works");
        let conn = connected(&mut rig);
        loop {
            let asked = request(&mut rig, conn);
            if asked.starts_with(&alloc::format!("POST /v1/replies/{} ", told[0].1)) {
                respond(&mut rig, conn, 503, b"");
                refused += 1;
            } else if asked.starts_with("POST /v1/replies/") {
                respond(&mut rig, conn, 204, b"");
            } else if asked.starts_with("GET /v1/inbox") {
                newest += 1;
                respond(&mut rig, conn, 200, &inbox(&[newest], false));
                inboxes += 1;
            } else {
                assert_eq!(asked, "");
                break;
            }
        }
    }
    let others = notified(&mut rig).len();
    // Now, and each minute after.
    assert_eq!((refused, inboxes, others), (41, 2, 2));
}

#[test]
fn a_reply_on_a_line_that_is_not_taken_goes_again_after_a_minute() {
    let (mut rig, line) = with_line(Limits::default());
    rig.feed(line, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"pong");
    assert_eq!(said(&mut rig, line), [Said::Reply(id, 4)]);
    rig.wait(59 * SECOND);
    assert_eq!(said(&mut rig, line), []);
    rig.wait(SECOND);
    assert_eq!(said(&mut rig, line), [Said::Reply(id, 4)]);
    rig.feed(line, &taken(1));
    rig.wait(MINUTE);
    assert_eq!(said(&mut rig, line), []);
}

#[test]
fn a_grant_leaves_the_wish_to_ask_the_inbox() {
    let (mut rig, line) = with_line(small());
    for sequence in 1..=3 {
        rig.feed(line, &notification(sequence));
    }
    let told = notified(&mut rig);
    assert_eq!(told.len(), 2, "the third waits in the inbox");
    let now = rig.now;
    let address = "10.0.0.5".parse().unwrap();
    let prefix = 24;
    rig.endpoint
        .handle_addresses(now, &[crate::registration::Interface { address, prefix }]);
    rig.poll();
    assert_eq!(until_connect(&mut rig), Duration::ZERO);
    let control = connected(&mut rig);
    assert!(request(&mut rig, control).starts_with("POST /v1/register "));
    respond(&mut rig, control, 200, &text(&answer(false, true)));
    let renewal = connected(&mut rig);
    assert!(request(&mut rig, renewal).starts_with("GET /v1/connect"));
    for (handle, _) in &told {
        reply(&mut rig, *handle, b"pong");
    }
    rig.feed(line, &taken(1));
    rig.feed(line, &taken(2));
    let control = connected(&mut rig);
    let asked = request(&mut rig, control);
    assert!(
        asked.starts_with("GET /v1/inbox?after=0000000300000002 "),
        "{asked}"
    );
}

#[test]
fn a_reply_goes_again_on_the_next_connection_until_taken() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    rig.closed(conn, CloseReason::Reset);
    until_connect(&mut rig);
    let control = connected(&mut rig);
    rig.written(control);
    respond(&mut rig, control, 200, &text(&answer(false, true)));
    let line = connected(&mut rig);
    assert!(request(&mut rig, line).contains("?after=0000000300000001 "));
    reply(&mut rig, handle, b"pong");
    rig.feed(line, SWITCHING);
    assert_eq!(
        said(&mut rig, line),
        [],
        "not before the relay said its limit"
    );
    rig.feed(line, &hello(3, 65_600));
    assert_eq!(said(&mut rig, line), [Said::Reply(id, 4)]);
    rig.feed(line, &taken(1));
    rig.closed(line, CloseReason::Reset);
    until_connect(&mut rig);
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("POST /v1/register "));
}

#[test]
fn a_reply_that_the_connection_does_not_carry_goes_by_post() {
    let mut rig = registered(client(), true);
    let conn = connected(&mut rig);
    rig.written(conn);
    rig.feed(conn, SWITCHING);
    rig.feed(conn, &hello(3, 108));
    rig.feed(conn, &notification(1));
    rig.feed(conn, &notification(2));
    let told = notified(&mut rig);
    reply(&mut rig, told[0].0, &[0; 101]);
    reply(&mut rig, told[1].0, &[0; 100]);
    let control = connected(&mut rig);
    assert_eq!(said(&mut rig, conn), [Said::Reply(told[1].1, 100)]);
    let asked = request(&mut rig, control);
    assert!(
        asked.starts_with(&alloc::format!("POST /v1/replies/{} ", told[0].1)),
        "{asked}"
    );
}

#[test]
fn long_replies_leave_in_parts() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    reply(&mut rig, handle, &[7; 65_536]);
    assert_eq!(said(&mut rig, conn), [Said::Reply(id, 65_536)]);
}

#[test]
fn a_full_mailbox_takes_frames_and_leaves_notifications_to_the_inbox() {
    let (mut rig, conn) = with_line(small());
    for sequence in 1..=4 {
        rig.feed(conn, &notification(sequence));
    }
    rig.feed(conn, &frame(ToClient::Ping(Ping { nonce: 9 })));
    assert_eq!(
        said(&mut rig, conn),
        [Said::Pong(9)],
        "nothing is stuck behind them"
    );
    let told = notified(&mut rig);
    assert_eq!(told.len(), 2);
    for (handle, _) in &told {
        reply(&mut rig, *handle, b"pong");
    }
    assert_eq!(said(&mut rig, conn).len(), 2);
    assert!(rig.connects.is_empty(), "there is no room yet");
    rig.feed(conn, &taken(1));
    rig.feed(conn, &taken(2));
    let control = connected(&mut rig);
    let asked = request(&mut rig, control);
    assert!(
        asked.starts_with("GET /v1/inbox?after=0000000300000002 "),
        "{asked}"
    );
    // One that comes meanwhile may not pass those that wait.
    rig.feed(conn, &notification(5));
    respond(&mut rig, control, 200, &inbox(&[3, 4], false));
    let told = notified(&mut rig);
    assert_eq!(
        told.iter().map(|it| it.1).collect::<Vec<_>>(),
        [nth(3), nth(4)]
    );
    let now = rig.now;
    rig.endpoint.dismiss(now, told[0].0);
    rig.poll();
    let control = connected(&mut rig);
    assert!(request(&mut rig, control).starts_with("GET /v1/inbox?after=0000000300000004 "));
    respond(&mut rig, control, 200, &inbox(&[5], false));
    assert_eq!(ids(&mut rig), [nth(5)]);
    rig.endpoint.dismiss(now, told[1].0);
    rig.feed(conn, &notification(6));
    assert_eq!(ids(&mut rig), [nth(6)], "the connection brings them again");
    assert_eq!(rig.wire(control).closed, Some(Close::Finish));
}

#[test]
fn a_confirmation_of_what_was_not_replied_to_changes_nothing() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    rig.feed(conn, &taken(1));
    rig.feed(conn, &taken(77));
    reply(&mut rig, handle, b"pong");
    assert_eq!(said(&mut rig, conn), [Said::Reply(id, 4)]);
}

#[test]
fn one_that_expires_is_told_and_can_not_be_replied_to() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &notification(1));
    let (handle, _) = notified(&mut rig)[0];
    rig.wait(3_600 * SECOND);
    let notification = handle;
    assert_eq!(rig.told(), [Event::NotificationExpired { notification }]);
    let now = rig.now;
    let gone = crate::notify::ReplyMisuse::Gone;
    assert_eq!(rig.endpoint.reply(now, handle, b"late"), Err(gone));
}

#[test]
fn a_line_that_is_silent_for_long_is_not_relied_on() {
    let (mut rig, line) = opened(client());
    rig.feed(line, &notification(1));
    let (handle, first) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"lost");
    assert_eq!(said(&mut rig, line), [Said::Reply(first, 4)]);
    // Nothing new: that is no reason to doubt the line.
    let polls_after = until_connect(&mut rig);
    assert!((810 * SECOND..=990 * SECOND).contains(&polls_after));
    let control = connected(&mut rig);
    assert!(request(&mut rig, control).starts_with("GET /v1/inbox?after=0000000300000001 "));
    respond(&mut rig, control, 200, &inbox(&[], false));
    assert_eq!(rig.wire(control).closed, Some(Close::Finish));
    let again = said(&mut rig, line);
    assert_eq!(again.len() as u64, polls_after.as_secs() / 60);
    assert!(again.iter().all(|said| *said == Said::Reply(first, 4)));

    // What the line should have brought is answered by POST, and so is what
    // was answered on the line and not taken.
    assert_eq!(until_connect(&mut rig), polls_after);
    assert!(
        (14..=17).contains(&said(&mut rig, line).len()),
        "one a minute"
    );
    let control = connected(&mut rig);
    rig.written(control);
    respond(&mut rig, control, 200, &inbox(&[2], false));
    let asked = request(&mut rig, control);
    assert!(
        asked.starts_with(&alloc::format!("POST /v1/replies/{first} ")),
        "{asked}"
    );
    respond(&mut rig, control, 204, b"");
    let (handle, second) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"pong");
    let control = connected(&mut rig);
    let asked = request(&mut rig, control);
    assert!(
        asked.starts_with(&alloc::format!("POST /v1/replies/{second} ")),
        "{asked}"
    );
    respond(&mut rig, control, 204, b"");
    assert_eq!(said(&mut rig, line), []);

    // Until it is heard of again.
    rig.feed(line, &notification(3));
    let (handle, third) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"pong");
    assert_eq!(said(&mut rig, line), [Said::Reply(third, 4)]);
    assert!(rig.endpoint.is_connected());
}
