use alloc::vec::Vec;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// More than the period that is set.
const LATER: Duration = Duration::from_secs(601);
const START: Instant = Instant::from_micros(5_000_000);

fn learner() -> Learner {
    Learner::new(LearnerSettings::default()).unwrap()
}

fn effects(learner: &mut Learner) -> Vec<LearnerEffect> {
    core::iter::from_fn(|| learner.poll()).collect()
}

/// Deaths of which the last is more than a period behind the others.
fn die(learner: &mut Learner, now: Instant, ages: &[u32]) -> Vec<LearnerEffect> {
    let (last, first) = ages.split_last().expect("a death");
    for age in first {
        learner.handle_death(now, 1, *age * SECOND);
    }
    learner.handle_death(now + LATER, 1, *last * SECOND);
    effects(learner)
}

#[test]
fn connections_that_keep_dying_at_one_age_shorten_the_period_below_it() {
    let mut learner = learner();
    assert!(die(&mut learner, START, &[600, 590]).is_empty());
    let told = die(&mut learner, START, &[605]);
    let lesson = Lesson {
        set: 600 * SECOND,
        before: 600 * SECOND,
        period: 295 * SECOND,
        why: Why::Shortened(Evidence {
            deaths: 3,
            youngest: 590 * SECOND,
            oldest: 605 * SECOND,
        }),
        at: START + LATER,
    };
    assert_eq!(told, [LearnerEffect { group: 1, lesson }]);
    assert_eq!(learner.lesson(1), Some(lesson));
    assert_eq!(learner.period(1), 295 * SECOND);
    assert_eq!((learner.period(0), learner.lesson(0)), (600 * SECOND, None));
    // A firewall that forgets sooner is met by halves.
    let told = die(&mut learner, START + LATER, &[295, 295, 296]);
    let Lesson { before, period, .. } = told[0].lesson;
    assert_eq!(before, 295 * SECOND);
    assert_eq!(period, Duration::from_millis(147_500));
}

#[test]
fn an_outage_of_all_who_lived_for_long_teaches_nothing() {
    let mut learner = learner();
    for evening in 1..10 {
        let now = START + evening * DAY;
        learner.handle_survival(now, 1, 600 * SECOND);
        for moment in [0, 1, 250, 599, 600] {
            learner.handle_death(now + moment * SECOND, 1, 600 * SECOND);
        }
        assert!(effects(&mut learner).is_empty());
    }
    // One that came again, and died again, makes the difference.
    learner.handle_death(START + 9 * DAY + LATER, 1, 600 * SECOND);
    assert_eq!(effects(&mut learner).len(), 1);
}

#[test]
fn deaths_of_different_ages_teach_nothing() {
    let mut learner = learner();
    assert!(die(&mut learner, START, &[600, 100, 600, 100, 600, 100]).is_empty());
    assert!(
        die(&mut learner, START, &[5, 5, 5, 5]).is_empty(),
        "too young"
    );
}

#[test]
fn who_was_found_alive_at_that_age_speaks_against_it() {
    let mut learner = learner();
    for _ in 0..20 {
        assert!(die(&mut learner, START, &[600, 600]).is_empty());
        learner.handle_survival(START, 1, 590 * SECOND);
    }
    learner.handle_survival(START, 1, 30 * SECOND);
    assert!(die(&mut learner, START, &[600, 600]).is_empty());
    learner.handle_survival(START, 1, 30 * SECOND);
    assert_eq!(
        die(&mut learner, START + LATER, &[600]).len(),
        1,
        "a young one says nothing"
    );
}

#[test]
fn a_lesson_is_tried_to_be_forgotten_and_learned_anew_for_longer() {
    let mut learner = learner();
    die(&mut learner, START, &[600, 600, 600]);
    let relax_at = START + LATER + DAY;
    assert_eq!(learner.poll_timeout(), Some(relax_at));
    learner.handle_timeout(relax_at);
    let told = effects(&mut learner);
    assert_eq!(
        (told[0].lesson.period, told[0].lesson.why),
        (600 * SECOND, Why::Relaxed)
    );
    assert_eq!(learner.poll_timeout(), None);
    die(&mut learner, relax_at, &[600, 600, 600]);
    assert_eq!(learner.period(1), 300 * SECOND);
    assert_eq!(learner.poll_timeout(), Some(relax_at + LATER + 2 * DAY));
}

#[test]
fn if_the_shortest_period_saves_none_the_lesson_was_wrong() {
    let mut learner = learner();
    let (mut now, mut periods) = (START, Vec::new());
    for _ in 0..20 {
        let period = learner.period(1);
        for _ in 0..3 {
            now = now + period;
            learner.handle_death(now, 1, period);
        }
        periods.extend(
            effects(&mut learner)
                .iter()
                .map(|told| told.lesson.period.as_secs()),
        );
    }
    assert_eq!(periods, [300, 150, 75, 37, 18, 10, 600]);
    assert_eq!(learner.lesson(1).unwrap().why, Why::GivenUp);
    // After a while it may learn again.
    let at = learner.poll_timeout().unwrap();
    learner.handle_timeout(at);
    assert!(effects(&mut learner).is_empty());
    assert_eq!(die(&mut learner, at, &[600, 600, 600]).len(), 1);
}

#[test]
fn what_is_off_is_not_shortened_and_a_setting_forgets_the_lesson() {
    let mut learner = learner();
    learner.set_period(1, Duration::ZERO).unwrap();
    assert!(die(&mut learner, START, &[600, 600, 600]).is_empty());
    learner.set_period(1, 60 * SECOND).unwrap();
    assert_eq!(
        die(&mut learner, START + LATER, &[60, 60, 60])[0]
            .lesson
            .period,
        30 * SECOND
    );
    learner.set_period(1, 90 * SECOND).unwrap();
    assert_eq!((learner.period(1), learner.lesson(1)), (90 * SECOND, None));
    assert_eq!(learner.poll_timeout(), None);
    let refused = learner.set_period(4_096, SECOND);
    assert!(matches!(
        refused,
        Err(SettingError::Group { group: 4_096, .. })
    ));
    learner.handle_death(START, 4_096, SECOND);
    learner.handle_survival(START, u16::MAX, SECOND);
    assert!(effects(&mut learner).is_empty());
}
