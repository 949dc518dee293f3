//! Every machine keeps the laws of the contract; broken ones are caught.

use tautline_tests::counting::Counting;
use tautline_tests::laws::{self, Flawed, toy};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_sound_machine_keeps_all_laws() {
    let tally = laws::assert_lawful::<toy::Toy>(0..20);
    for (what, count) in [
        ("outputs", tally.outputs),
        ("timeouts", tally.timeouts),
        ("pokes", tally.pokes),
        ("dips", tally.dips),
        ("streams", tally.streams),
        ("noises", tally.noises),
        ("misuses", tally.misuses),
        ("tables", tally.tables),
        ("steady", tally.steady),
        ("promises", tally.promises),
    ] {
        assert!(count > 0, "no {what} in {tally:?}");
    }
}

#[test]
fn a_broken_machine_is_caught_at_its_law_and_no_other() {
    Flawed::each(0..20, |flaw, law, report| {
        assert_eq!(report.laws(), [law], "{flaw}: {:?}", report.broken);
    });
}

#[test]
fn a_breach_comes_back_from_its_seed() {
    Flawed::each(3..6, |flaw, _, report| {
        for broken in &report.broken {
            Flawed::each(broken.seed..broken.seed + 1, |other, _, again| {
                if other == flaw {
                    assert_eq!(again.broken.first().map(|b| b.step), Some(broken.step));
                }
            });
        }
    });
}
