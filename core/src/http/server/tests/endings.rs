//! How a connection ends.

use super::*;

#[test]
fn a_peer_that_ends_gets_what_is_due() {
    // Behind a request: the response.
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    world.server.handle_eof(world.now, &mut world.pool);
    assert_eq!(world.effects(), []);
    assert_eq!(world.respond(ResponseBody::Bytes(b"x")), Ok(()));
    assert!(world.written().ends_with("Connection: close\r\n\r\nx"));
    assert!(world.effects().contains(&Effect::Close(Close::Finish)));
    // Within a head, and within a body: a refusal.
    for (stream, status) in [
        ("GET", 0),
        ("PUT / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", 400),
    ] {
        let mut world = World::new();
        world.receive(stream);
        world.effects();
        world.server.handle_eof(world.now, &mut world.pool);
        let mut expected = vec![Effect::Refused(Refusal::Truncated)];
        if status > 0 {
            expected.push(Effect::Finished {
                status,
                aborted: true,
            });
        }
        assert_eq!(world.effects(), expected);
        assert!(world.written().starts_with("HTTP/1.1 400 "));
    }
    // Between requests: the end, without a word.
    for stream in ["", "\r\n"] {
        let mut world = World::new();
        if !stream.is_empty() {
            world.receive(stream);
        }
        world.server.handle_eof(world.now, &mut world.pool);
        assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
        assert_eq!(world.written(), "");
    }
}

#[test]
fn a_request_that_was_not_told_of_is_not_finished() {
    let mut world = World::new();
    world.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
    world.server.handle_eof(world.now, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Refused(Refusal::Truncated)]);
}

#[test]
fn a_connection_drains_behind_its_request() {
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    world.server.drain(world.now, &mut world.pool);
    assert_eq!(world.effects(), []);
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    assert!(world.written().contains("Connection: close"));
    assert!(world.effects().contains(&Effect::Close(Close::Finish)));
    let mut world = World::new();
    world.server.drain(world.now, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let limits = Limits {
        requests_per_connection_max: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    for closes in [false, true] {
        world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        world.effects();
        assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
        assert_eq!(world.written().contains("Connection: close"), closes);
    }
}
