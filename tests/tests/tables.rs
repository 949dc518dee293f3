//! Transition tables are those that are checked in.

use tautline_core::notify::{self, LINE_VISITS, LineEvent, LineState};
use tautline_core::pcc;
use tautline_core::registration::{RegistrarEvent, RegistrarStage, SelectorEvent, SelectorStage};
use tautline_tests::dice::Dice;
use tautline_tests::tables;

#[test]
fn the_persistent_connection_of_a_client() {
    let table = tables::render(pcc::State::ALL, pcc::Event::ALL, pcc::transition);
    tables::assert_checked_in("pcc", &table);
}

#[test]
fn the_registrar_of_a_client() {
    let table = tables::render(
        RegistrarStage::ALL,
        RegistrarEvent::ALL,
        RegistrarStage::after,
    );
    tables::assert_checked_in("registrar", &table);
}

#[test]
fn a_line_of_the_router() {
    let table = tables::render(LineState::ALL, LineEvent::ALL, LineState::after);
    tables::assert_checked_in("router", &table);
}

#[test]
fn the_selector_of_a_client() {
    let table = tables::render(SelectorStage::ALL, SelectorEvent::ALL, SelectorStage::after);
    tables::assert_checked_in("selector", &table);
}

#[derive(Clone, Copy, Debug)]
enum Door {
    Closed,
    Open,
    Locked,
}

#[derive(Clone, Copy, Debug)]
enum Hand {
    Push,
    Pull,
    Turn,
}

fn next(door: Door, hand: Hand) -> Option<Door> {
    match (door, hand) {
        (Door::Closed, Hand::Push) => Some(Door::Open),
        (Door::Open, Hand::Pull) => Some(Door::Closed),
        (Door::Closed, Hand::Turn) => Some(Door::Locked),
        (Door::Locked, Hand::Turn) => Some(Door::Closed),
        _ => None,
    }
}

fn door() -> String {
    tables::render(
        [Door::Closed, Door::Open, Door::Locked],
        [Hand::Push, Hand::Pull, Hand::Turn],
        next,
    )
}

#[test]
fn a_table_is_compared_with_its_file() {
    tables::assert_checked_in("example-door", &door());
}

#[test]
fn a_changed_transition_shows_as_a_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door.txt");
    assert_eq!(tables::compare(&path, &door(), true), Ok(()));
    assert_eq!(tables::compare(&path, &door(), false), Ok(()));

    let changed = door().replace("Locked  .", "Open    .");
    let difference = tables::compare(&path, &changed, false).expect_err("they differ");
    let marked: Vec<&str> = difference
        .lines()
        .filter(|line| !line.starts_with(' '))
        .collect();
    assert_eq!(marked.len(), 2, "{difference}");
    assert!(marked[0].starts_with("- Turn"), "{difference}");
    assert!(marked[1].starts_with("+ Turn"), "{difference}");
}

/// The storm fills no line; scripts for the router and its model do.
#[test]
fn x4_every_transition_of_a_line_is_taken() {
    for seed in 0..2_000 {
        notify::fuzz::router(&Dice::new(seed).bytes(1_000));
    }
    let untaken = tables::untaken(
        &LineState::ALL,
        &LineEvent::ALL,
        LineState::after,
        |state, event| LINE_VISITS.has(state, event),
    );
    assert_eq!(untaken, []);
}
