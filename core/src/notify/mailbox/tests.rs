use super::Order::{InOrder, Loose};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn mailbox(notifications_max: u32) -> Mailbox {
    let limits = MailboxLimits {
        notifications_max,
        ..MailboxLimits::default()
    };
    Mailbox::new(limits, Random::from_seed([5; 32]))
}

fn notification(id: u64, reply_window_ms: u32) -> message::Notification<'static> {
    let id = NotificationId(id);
    message::Notification {
        id,
        lifetime_s: 60,
        reply_window_ms,
        payload: b"ping",
    }
}

fn new(received: Received) -> Handle {
    match received {
        Received::New(handle) => handle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_notification_is_handed_out_once() {
    let mut mailbox = mailbox(4);
    let now = Instant::ORIGIN;
    let handle = new(mailbox.handle_notification(now, &notification(7, 0), InOrder));
    assert_eq!(
        mailbox.get(handle),
        Some((NotificationId(7), b"ping".as_slice()))
    );
    assert_eq!(
        mailbox.handle_notification(now, &notification(7, 0), InOrder),
        Received::Known
    );
    assert_eq!(
        mailbox.handle_notification(now, &notification(6, 0), InOrder),
        Received::Known
    );
}

#[test]
fn a_reply_is_kept_until_it_is_taken() {
    let mut mailbox = mailbox(4);
    let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 0), InOrder));
    mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
    assert_eq!(
        mailbox.reply(Instant::ORIGIN, handle, b"again"),
        Err(ReplyMisuse::Gone)
    );
    let (sent, reply) = mailbox.next_reply().unwrap();
    assert_eq!((sent, reply.payload), (handle, b"pong".as_slice()));
    mailbox.handle_sent(Instant::ORIGIN, handle);
    assert_eq!(mailbox.next_reply(), None);
    mailbox.handle_way_lost();
    assert!(mailbox.next_reply().is_some());
    mailbox.handle_sent(Instant::ORIGIN, handle);
    mailbox.handle_taken(NotificationId(7));
    mailbox.handle_way_lost();
    assert_eq!(mailbox.next_reply(), None);
}

#[test]
fn a_taken_reply_is_not_sent_again_while_the_rest_of_it_is_written() {
    let mut mailbox = mailbox(4);
    let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 0), InOrder));
    mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
    mailbox.handle_sent(Instant::ORIGIN, handle);
    mailbox.pin(handle);
    mailbox.handle_taken(NotificationId(7));
    mailbox.handle_way_lost();
    assert_eq!(mailbox.next_reply(), None);
}

#[test]
fn a_taken_reply_is_not_sent_again_when_its_way_was_lost_before() {
    let mut mailbox = mailbox(4);
    let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 0), InOrder));
    mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
    mailbox.handle_sent(Instant::ORIGIN, handle);
    mailbox.pin(handle);
    mailbox.handle_way_lost();
    mailbox.handle_taken(NotificationId(7));
    assert_eq!(mailbox.next_reply(), None);
}

#[test]
fn a_reply_waits_for_a_moment_within_the_window() {
    let mut mailbox = mailbox(4);
    let handle =
        new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 10_000), InOrder));
    mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
    assert_eq!(mailbox.next_reply(), None);
    mailbox.handle_timeout(Instant::ORIGIN + 11 * SECOND);
    assert_eq!(mailbox.poll(), Some(MailboxEffect::ReplyDue));
    assert!(mailbox.next_reply().is_some());
}

#[test]
fn a_full_mailbox_forgets_nothing() {
    let mut mailbox = mailbox(1);
    let first = new(mailbox.handle_notification(Instant::ORIGIN, &notification(1, 0), InOrder));
    assert_eq!(
        mailbox.handle_notification(Instant::ORIGIN, &notification(2, 0), InOrder),
        Received::Full
    );
    mailbox.dismiss(first);
    new(mailbox.handle_notification(Instant::ORIGIN, &notification(2, 0), InOrder));
}

#[test]
fn a_notification_ends_with_its_lifetime() {
    let mut mailbox = mailbox(1);
    let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(1, 0), InOrder));
    mailbox.handle_timeout(Instant::ORIGIN + 60 * SECOND);
    assert_eq!(mailbox.poll(), Some(MailboxEffect::Expired(handle)));
    assert_eq!(mailbox.get(handle), None);
    assert_eq!(
        mailbox.reply(Instant::ORIGIN, handle, b"late"),
        Err(ReplyMisuse::Gone)
    );
    assert!(mailbox.has_room());
}

#[test]
fn what_comes_by_datagram_is_handed_out_once_on_all_ways() {
    let mut mailbox = mailbox(4);
    let now = Instant::ORIGIN;
    let mut receive = |id, order| mailbox.handle_notification(now, &notification(id, 0), order);
    new(receive(7, Loose));
    assert_eq!(receive(7, Loose), Received::Known);
    new(receive(5, InOrder));
    assert_eq!(receive(7, InOrder), Received::Known);
    assert_eq!(receive(6, Loose), Received::Known, "the order passed it");
    assert_eq!(mailbox.seen(), NotificationId(7));
}

#[test]
fn a_datagram_does_not_pass_over_what_is_missing() {
    let mut mailbox = mailbox(4);
    let now = Instant::ORIGIN;
    new(mailbox.handle_notification(now, &notification(3, 0), InOrder));
    new(mailbox.handle_notification(now, &notification(9, 0), Loose));
    assert_eq!(mailbox.seen(), NotificationId(3), "what after= states");
    new(mailbox.handle_notification(now, &notification(5, 0), InOrder));
    assert_eq!(mailbox.seen(), NotificationId(5));
    let known = mailbox.handle_notification(now, &notification(9, 0), InOrder);
    assert_eq!(
        (known, mailbox.seen()),
        (Received::Known, NotificationId(9))
    );
}

#[test]
fn too_many_out_of_order_are_for_the_inbox() {
    let limits = MailboxLimits {
        ahead_max: 2,
        ..MailboxLimits::default()
    };
    let mut mailbox = Mailbox::new(limits, Random::from_seed([5; 32]));
    let now = Instant::ORIGIN;
    for id in [10, 20] {
        new(mailbox.handle_notification(now, &notification(id, 0), Loose));
    }
    let told = mailbox.handle_notification(now, &notification(30, 0), Loose);
    assert_eq!(told, Received::OutOfOrder);
    // The inbox has all of them, in order.
    for (id, is_new) in [(10, false), (20, false), (30, true)] {
        let told = mailbox.handle_notification(now, &notification(id, 0), InOrder);
        assert_eq!(matches!(told, Received::New(_)), is_new, "{id}");
    }
    new(mailbox.handle_notification(now, &notification(40, 0), Loose));
}

/// A mailbox with the replies to two notifications, both sent.
fn with_two_sent() -> (Mailbox, [Handle; 2]) {
    let mut mailbox = mailbox(4);
    let now = Instant::ORIGIN;
    let handles = [7, 8].map(|id| {
        let mut long = notification(id, 0);
        long.lifetime_s = 600;
        let handle = new(mailbox.handle_notification(now, &long, InOrder));
        mailbox.reply(now, handle, b"pong").expect("it is handled");
        mailbox.handle_sent(now, handle);
        handle
    });
    (mailbox, handles)
}

fn due_at(mailbox: &mut Mailbox, now: Instant) -> Option<Handle> {
    mailbox.handle_timeout(now);
    while mailbox.poll().is_some() {}
    mailbox.next_reply().map(|(handle, _)| handle)
}

#[test]
fn a_reply_that_was_sent_and_not_taken_is_due_again_after_a_minute() {
    let (mut mailbox, [first, second]) = with_two_sent();
    mailbox.handle_taken(NotificationId(7));
    let now = Instant::ORIGIN;
    assert_eq!(mailbox.poll_timeout(), Some(now + 60 * SECOND));
    assert_eq!(due_at(&mut mailbox, now + 59 * SECOND), None);
    assert_eq!(due_at(&mut mailbox, now + 60 * SECOND), Some(second));
    mailbox.handle_sent(now + 60 * SECOND, second);
    assert_eq!(due_at(&mut mailbox, now + 119 * SECOND), None);
    assert_eq!(due_at(&mut mailbox, now + 120 * SECOND), Some(second));
    assert!(mailbox.reply_of(first).is_none());
}

#[test]
fn a_reply_that_is_refused_waits_alone() {
    let (mut mailbox, [first, second]) = with_two_sent();
    let now = Instant::ORIGIN;
    assert_eq!(due_at(&mut mailbox, now + 10 * SECOND), None);
    mailbox.handle_refused(now + 10 * SECOND, first);
    assert_eq!(due_at(&mut mailbox, now + 60 * SECOND), Some(second));
    mailbox.handle_taken(NotificationId(8));
    assert_eq!(due_at(&mut mailbox, now + 69 * SECOND), None);
    assert_eq!(due_at(&mut mailbox, now + 70 * SECOND), Some(first));
}

#[test]
fn a_reply_that_is_still_being_written_is_not_due() {
    let (mut mailbox, [first, second]) = with_two_sent();
    let now = Instant::ORIGIN;
    mailbox.pin(first);
    mailbox.handle_taken(NotificationId(8));
    assert_eq!(due_at(&mut mailbox, now + 61 * SECOND), None);
    mailbox.unpin(first);
    assert_eq!(due_at(&mut mailbox, now + 121 * SECOND), Some(first));
    assert!(mailbox.reply_of(second).is_none());
}
