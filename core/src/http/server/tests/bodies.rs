//! Bodies of requests, and who reads them.

use super::*;

#[test]
fn a_hundred_comes_when_the_body_is_read() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut world = World::new();
    world.receive(head);
    assert_eq!(world.effects(), [Effect::Request]);
    assert!(
        world
            .server
            .request()
            .is_some_and(|request| request.expects_continue())
    );
    assert_eq!(world.written(), "");
    let (now, reading) = (world.now, Reading::Chunks);
    assert_eq!(
        world.server.read_body(now, reading, &mut world.pool),
        Ok(())
    );
    assert_eq!(world.written(), "HTTP/1.1 100 Continue\r\n\r\n");
    world.receive("ab");
    assert_eq!(world.effects(), [Effect::Body]);
    world.server.consume_body(now);
    assert_eq!(world.effects(), [Effect::BodyEnd]);

    // Refused unread, the connection ends: the body may come or not.
    let mut world = World::new();
    world.receive(head);
    world.effects();
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    assert!(world.written().contains("Connection: close"));
    assert!(world.effects().contains(&Effect::Close(Close::Finish)));
}

#[test]
fn a_body_goes_to_a_file() {
    let mut world = World::new();
    world.receive("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    world.effects();
    let reading = Reading::Take {
        sink: FILE,
        offset: 100,
    };
    let now = world.now;
    assert_eq!(
        world.server.read_body(now, reading, &mut world.pool),
        Ok(())
    );
    assert_eq!(world.receive("5\r\nhello\r\n"), 3);
    let take = |offset, len| Effect::Take {
        sink: FILE,
        offset,
        len,
    };
    assert_eq!(world.effects(), [take(100, 5)]);
    assert_eq!(
        world.respond(ResponseBody::Empty),
        Err(Misuse::BodyOutstanding)
    );
    world.server.handle_moved(now, 5, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Resume]);
    assert_eq!(world.receive("\r\n2\r\nab\r\n"), 5);
    assert_eq!(world.effects(), [take(105, 2)]);
    world.server.handle_moved(now, 2, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Resume]);
    assert_eq!(world.receive("\r\n0\r\n\r\nGET"), 7);
    assert_eq!(world.effects(), [Effect::BodyEnd]);
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
}

#[test]
fn an_unread_body_is_dropped_up_to_a_limit() {
    let limits = Limits {
        body_bytes_discard_max: 10,
        ..Limits::default()
    };
    for (length, expected) in [(10, true), (11, false)] {
        let mut world = World::with(limits.clone());
        let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
        let stream = format!("{head}{}{next}", "x".repeat(length));
        let taken = world.receive(&stream);
        world.effects();
        assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
        assert_eq!(!world.written().contains("Connection: close"), expected);
        let effects = world.effects();
        assert_eq!(effects.contains(&Effect::Close(Close::Finish)), !expected);
        world.receive(&stream[taken..]);
        assert_eq!(world.effects().contains(&Effect::Request), expected);
        assert_eq!(world.server.request().is_some(), expected);
    }
}
