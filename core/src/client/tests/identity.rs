//! The file that holds the identity: no number leaves before it is on disk.

use super::*;
use crate::wire::proof::Authorization;

fn saved(client: bool, registration: u64) -> Vec<u8> {
    let secret = "06".repeat(32);
    let identity = alloc::format!(r#""identity":{{"client":"{ID}","secret":"{secret}"}},"#);
    let identity = if client { identity } else { String::new() };
    alloc::format!(r#"{{{identity}"registration":{registration}}}"#).into_bytes()
}

fn load(rig: &mut Rig<Client>, bytes: &[u8]) {
    let (ticket, op) = rig.stores.remove(0);
    assert_eq!(op, Op::Load("client.json".into()));
    rig.tell(Input::Loaded { ticket, bytes });
}

fn tickets(rig: &mut Rig<Client>) -> Vec<Ticket> {
    core::mem::take(&mut rig.stores)
        .into_iter()
        .map(|(ticket, _)| ticket)
        .collect()
}

#[test]
fn law8_a_number_is_on_disk_before_it_is_used() {
    let mut rig = client();
    load(&mut rig, &saved(true, 41));
    let ops: Vec<_> = rig.stores.iter().map(|(_, op)| op.clone()).collect();
    let [Op::Create(name), Op::Append(bytes), Op::Sync, Op::Close] = &ops[..] else {
        panic!("{ops:?}");
    };
    assert_eq!(name, "client.json.new");
    let text = String::from_utf8_lossy(bytes).into_owned();
    assert!(
        text.contains(r#""registration": 42"#) && text.contains(&ID.to_string()),
        "{text}"
    );
    for ticket in tickets(&mut rig) {
        assert!(rig.connects.is_empty());
        rig.tell(Input::Stored { ticket });
    }
    let (ticket, op) = rig.stores.remove(0);
    assert_eq!(
        op,
        Op::Rename("client.json.new".into(), "client.json".into())
    );
    assert!(rig.connects.is_empty(), "the new file has not its name yet");
    rig.tell(Input::Stored { ticket });
    let conn = connected(&mut rig);
    let asked = request(&mut rig, conn);
    let proof = asked
        .lines()
        .find_map(|line| line.strip_prefix("Authorization: "));
    let proof = Authorization::parse(proof.unwrap().as_bytes()).unwrap();
    assert_eq!((proof.client, proof.counter), (ID, 42));
}

#[test]
fn law8_an_identity_is_on_disk_before_it_is_used() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 200, &text(&answer(true, true)));
    assert_eq!(rig.told(), []);
    assert!(rig.connects.is_empty());
    let ops = disk(&mut rig);
    assert_eq!(ops.len(), 5, "{ops:?}");
    assert!(matches!(
        rig.told()[..],
        [Event::Registered { client: ID, .. }]
    ));
    assert_eq!(rig.connects.len(), 1, "the persistent connection");
}

#[test]
fn one_stored_may_cover_them_all() {
    let mut rig = client();
    load(&mut rig, &saved(false, 0));
    let ticket = *tickets(&mut rig).last().unwrap();
    rig.tell(Input::Stored { ticket });
    let ticket = tickets(&mut rig)[0];
    rig.tell(Input::Stored { ticket });
    connected(&mut rig);
}

#[test]
fn a_file_that_is_damaged_is_left_alone() {
    let whole = saved(true, 41);
    let cut: Vec<&[u8]> = (0..whole.len()).map(|len| &whole[..len]).collect();
    for bytes in cut.into_iter().chain([&b"\0\0\0"[..], b"{}", b"[]"]) {
        let mut rig = client();
        load(&mut rig, bytes);
        assert_eq!(rig.told(), [Event::IdentityUnreadable]);
        assert_eq!((rig.stores.len(), rig.connects.len()), (0, 0));
        let now = rig.now;
        rig.endpoint.handle_addresses(now, &[]);
        rig.wait(86_400 * SECOND);
        assert_eq!((rig.stores.len(), rig.connects.len()), (0, 0));
    }
}

#[test]
fn a_file_that_can_not_be_read_stops_the_start() {
    for why in [StoreError::Denied, StoreError::Failed, StoreError::TooLarge] {
        let mut rig = client();
        let ticket = tickets(&mut rig)[0];
        rig.tell(Input::StoreFailed { ticket, why });
        assert_eq!(rig.told(), [Event::IdentityUnavailable { why }]);
        rig.wait(86_400 * SECOND);
        assert_eq!((rig.stores.len(), rig.connects.len()), (0, 0));
    }
}

#[test]
fn what_fails_on_the_way_to_the_disk_is_done_anew_later() {
    for failing in 0..5 {
        let mut rig = client();
        load(&mut rig, &saved(true, 41));
        let why = StoreError::Full;
        let fail = |rig: &mut Rig<Client>, ticket| rig.tell(Input::StoreFailed { ticket, why });
        let all = tickets(&mut rig);
        for (place, ticket) in all.iter().enumerate() {
            if place == failing {
                fail(&mut rig, *ticket);
            }
            rig.tell(Input::Stored { ticket: *ticket });
        }
        if failing >= 3 {
            // The content is on disk; whether its handle closed is no matter.
            let ticket = tickets(&mut rig)[0];
            if failing == 4 {
                fail(&mut rig, ticket);
            }
            rig.tell(Input::Stored { ticket });
        }
        if failing == 3 {
            connected(&mut rig);
            continue;
        }
        assert_eq!(rig.told(), [Event::StorageFailed { why }], "{failing}");
        assert_eq!((rig.stores.len(), rig.connects.len()), (0, 0), "{failing}");
        let waited = until_connect(&mut rig);
        assert!(waited >= MINUTE && waited <= 5 * MINUTE, "{waited:?}");
        let conn = connected(&mut rig);
        assert!(request(&mut rig, conn).contains(r#""registration":43"#));
    }
}

#[test]
fn an_identity_that_could_not_be_kept_is_not_used() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 200, &text(&answer(true, true)));
    let why = StoreError::Failed;
    let all = tickets(&mut rig);
    rig.tell(Input::StoreFailed {
        ticket: all[2],
        why,
    });
    rig.tell(Input::Stored { ticket: all[3] });
    assert_eq!(rig.told(), [Event::StorageFailed { why }]);
    assert!(rig.connects.is_empty());
    let waited = until_connect(&mut rig);
    assert!(waited >= MINUTE && waited <= 5 * MINUTE, "{waited:?}");
}

#[test]
fn results_of_other_effects_are_nobodys() {
    let mut rig = client();
    for ticket in [Ticket(0), Ticket(99)] {
        rig.tell(Input::Loaded {
            ticket,
            bytes: b"{}",
        });
        rig.tell(Input::StoreFailed {
            ticket,
            why: StoreError::Failed,
        });
    }
    assert_eq!(rig.told(), []);
    disk(&mut rig);
    connected(&mut rig);
}

#[test]
fn no_flipped_bit_makes_it_another_client() {
    let mut rig = client();
    load(&mut rig, &saved(true, 41));
    let whole = rig.stores.iter().find_map(|(_, op)| match op {
        Op::Append(bytes) => Some(bytes.clone()),
        _ => None,
    });
    let whole = whole.unwrap();
    let mut noticed = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut rig = client();
        load(&mut rig, &bytes);
        if rig.told() == [Event::IdentityUnreadable] {
            noticed += 1;
            continue;
        }
        // What is not noticed changes nothing: the case of a digit, a name.
        assert_eq!(rig.endpoint.id(), Some(ID), "bit {bit}");
        let text = rig.stores.iter().find_map(|(_, op)| match op {
            Op::Append(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        });
        assert!(text.unwrap().contains(r#""registration": 43"#), "bit {bit}");
    }
    assert!(noticed > whole.len() * 4, "{noticed}");
}
