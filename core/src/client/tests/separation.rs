//! Two machines with one identity.

use super::*;
use crate::wire::proof::ClientSecret;

const NEW: ClientId = ClientId([9; 16]);

/// The relay's answer that separates, to the registration with this number.
fn separation(registration: u64) -> Answer {
    let proof = ClientSecret([6; 32]).separation(ID, NEW, registration);
    Answer {
        client: NEW,
        secret: Some(Hex([0x5e; 32])),
        separated: Some(Hex(proof)),
        ..answer(false, true)
    }
}

/// A client whose second registration was asked, with its line and that.
fn registering_again() -> (Rig<Client>, ConnId, ConnId) {
    let (mut rig, line) = with_line(Limits::default());
    let now = rig.now;
    let address = "10.0.0.5".parse().unwrap();
    let prefix = 24;
    rig.endpoint
        .handle_addresses(now, &[crate::registration::Interface { address, prefix }]);
    rig.poll();
    assert_eq!(until_connect(&mut rig), Duration::ZERO);
    let control = connected(&mut rig);
    let asked = request(&mut rig, control);
    assert!(asked.contains(r#""registration":2,"#), "{asked}");
    (rig, line, control)
}

#[test]
fn a_clone_takes_the_identity_that_it_is_given_when_it_is_on_disk() {
    let (mut rig, line, control) = registering_again();
    respond(&mut rig, control, 200, &text(&separation(2)));
    assert_eq!(rig.told(), [], "not before it is on disk");
    assert!(rig.connects.is_empty());
    let written = disk(&mut rig);
    let holds_it = |op: &Op| {
        let new = NEW.to_string();
        matches!(op, Op::Append(bytes) if String::from_utf8_lossy(bytes).contains(&new))
    };
    assert!(written.iter().any(holds_it));
    let told = rig.told();
    let (from, client) = (ID, NEW);
    let incarnation = Incarnation(3);
    let granted = true;
    assert_eq!(
        told,
        [
            Event::Disconnected { why: Failure::Left },
            Event::Separated { from, client },
            Event::Registered {
                client,
                incarnation,
                granted,
                reason: None,
            }
        ]
    );
    assert_eq!(said(&mut rig, line), [Said::Bye("replaced")]);
    assert_eq!(rig.endpoint.id(), Some(NEW));
    let line = connected(&mut rig);
    let asked = request(&mut rig, line);
    let proof = alloc::format!("Authorization: Tautline client={NEW}, counter=1,");
    assert!(asked.contains(&proof), "{asked}");
}

#[test]
fn another_identity_without_its_proof_is_refused() {
    let mut unproven = separation(2);
    unproven.separated = None;
    let mut wrong = separation(2);
    wrong.separated = Some(Hex([1; 32]));
    let mut bare = separation(2);
    bare.secret = None;
    let mut other = separation(2);
    other.client = ClientId([1; 16]);
    for answer in [unproven, wrong, bare, other, separation(1), separation(3)] {
        let (mut rig, _, control) = registering_again();
        respond(&mut rig, control, 200, &text(&answer));
        disk(&mut rig);
        assert_eq!(rig.told(), [failed("registration", Failure::Answer)]);
        assert_eq!(rig.endpoint.id(), Some(ID));
        assert!(rig.endpoint.is_connected(), "what it had stays");
    }
}

#[test]
fn a_secret_that_nobody_asked_for_changes_nothing() {
    let (mut rig, _, control) = registering_again();
    let mut with_secret = answer(false, true);
    with_secret.secret = Some(Hex([0x5e; 32]));
    respond(&mut rig, control, 200, &text(&with_secret));
    assert!(disk(&mut rig).is_empty());
    assert_eq!(rig.endpoint.id(), Some(ID));
}

#[test]
fn a_clone_that_may_not_be_given_one_says_so() {
    let (mut rig, _, control) = registering_again();
    let problem = br#"{"type":"urn:tautline:problem:cloned","title":"Conflict","status":409}"#;
    respond(&mut rig, control, 409, problem);
    assert_eq!(rig.told(), [failed("registration", Failure::Cloned)]);
    let waited = until_connect(&mut rig);
    assert!(waited >= MINUTE && waited <= 5 * MINUTE, "{waited:?}");
    let conn = connected(&mut rig);
    let asked = request(&mut rig, conn);
    assert!(
        asked.contains(r#""registration":3,"#),
        "the number is not the fault: {asked}"
    );
}

#[test]
fn each_start_has_an_instance_and_each_registration_its_end() {
    let instance = |seed: u8| {
        let mut rig = Rig::new(Client::new(settings(), Limits::default(), [seed; 32]));
        rig.poll();
        disk(&mut rig);
        let conn = connected(&mut rig);
        let asked = request(&mut rig, conn);
        assert!(asked.contains(r#""local":"10.0.0.9""#), "{asked}");
        let (_, rest) = asked.split_once(r#""instance":""#).expect("an instance");
        let (instance, _) = rest.split_once('"').expect("its end");
        assert_eq!(instance.len(), 16);
        String::from(instance)
    };
    assert_eq!(instance(1), instance(1));
    assert_ne!(instance(1), instance(2));
}
