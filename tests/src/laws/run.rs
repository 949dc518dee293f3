//! The runner: a subject, a law, a seed.

use core::cell::Cell;
use core::ops::Range;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use tautline_core::Instant;

use super::log::first_difference;
use super::{Broken, Law, Log, Misuse, Report, Step, Subject, Tally};
use crate::{Dice, counting};

/// Inputs of one run.
const STEPS: u64 = 300;
/// Inputs of one flood.
const FLOOD_STEPS: u64 = 1_000;
/// Deadlines that may come at one moment, if each brings output.
const TIMEOUTS_PER_MOMENT_MAX: u64 = 1_000;
/// Deadlines for which a stalled stream waits.
const STALL_TIMEOUTS_MAX: u64 = 64;

/// Puts the subject through all laws with the random inputs of each seed.
pub fn check<S: Subject>(seeds: Range<u64>) -> Report {
    let mut report = Report::default();
    for seed in seeds {
        let same = check_law::<S>(Law::SameInSameOut, true, seed, &mut report.tally);
        // Who compares two copies takes for granted that they are the same.
        let repeatable = same.is_ok();
        let others = Law::ALL
            .into_iter()
            .filter(|&law| law != Law::SameInSameOut);
        let others = others.map(|law| check_law::<S>(law, repeatable, seed, &mut report.tally));
        for broken in [same].into_iter().chain(others).filter_map(Result::err) {
            if !report.broken.iter().any(|known| known.law == broken.law) {
                report.broken.push(broken);
            }
        }
    }
    report.broken.sort_by_key(|broken| broken.law);
    report
}

/// Checks all laws and returns how much of each was put to the test.
///
/// `LAW_SEED=7` in the environment checks that seed alone, `LAW_SEEDS=1000` as
/// many instead of those given.
///
/// # Panics
/// If one is broken; the message names the law, the seed and the step.
pub fn assert_lawful<S: Subject>(seeds: Range<u64>) -> Tally {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match (number("LAW_SEED"), number("LAW_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => seeds,
    };
    let report = check::<S>(seeds);
    let broken: Vec<String> = report.broken.iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    report.tally
}

/// A panic breaks law 5, whichever law is checked.
fn check_law<S: Subject>(
    law: Law,
    repeatable: bool,
    seed: u64,
    tally: &mut Tally,
) -> Result<(), Broken> {
    let step = Cell::new(0);
    let run = AssertUnwindSafe(|| match law {
        Law::DrainEnds | Law::TimeMoves => check_time::<S>(seed, &step, tally),
        Law::EarlyIsHarmless if repeatable => check_early::<S>(seed, &step, tally),
        Law::EarlyIsHarmless => Ok(()),
        Law::SameInSameOut => {
            check_same::<S>(seed, &step, tally)?;
            check_cuts::<S>(seed, &step, tally)
        }
        Law::NoiseNeverSurfaces => {
            check_noise::<S>(seed, &step, tally)?;
            if repeatable {
                check_misuse::<S>(seed, &step, tally)?;
            }
            Ok(())
        }
        Law::Bounded => check_bounded::<S>(seed, &step, tally),
        Law::Still => check_still::<S>(seed, &step, tally),
        Law::Durable => check_durable::<S>(seed, &step, tally),
    });
    quietly(|| catch_unwind(run)).unwrap_or_else(|panic| {
        Err(Broken {
            law: Law::NoiseNeverSurfaces,
            subject: S::NAME,
            seed,
            step: step.get(),
            what: format!("it panicked: {}", panic_message(panic.as_ref())),
        })
    })
}

/// Laws 1 and 2 are watched in every run; here the inputs come at deadlines.
fn check_time<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut run = Run::<S>::start(seed, step, Log::counting())?;
    for at in 0..STEPS {
        let mut dice = run.begin(at);
        let next = run.deadline().unwrap_or(run.now);
        run.advance(next.max(run.now), tally)?;
        run.act(run.now, &mut dice)?;
    }
    run.settle(tally)
}

/// Law 3: one copy is poked before its deadlines, another one hears of times
/// that lie behind.
fn check_early<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut plain = Run::<S>::start(seed, step, Log::recording())?;
    let mut poked = Run::<S>::start(seed, step, Log::recording())?;
    let mut dipped = Run::<S>::start(seed, step, Log::recording())?;
    for at in 0..STEPS {
        let mut dice = plain.begin(at);
        let next = plain.next_moment(&mut dice);
        poked.poke(next, &mut dice, tally)?;
        for run in [&mut plain, &mut poked, &mut dipped] {
            run.advance(next, tally)?;
        }
        // So that it knows how late it is.
        dipped.subject.timeout(next);
        dipped.drain()?;
        let dip = dice.span(Duration::ZERO..Duration::from_secs(100));
        plain.act(next, &mut dice.clone())?;
        poked.act(next, &mut dice.clone())?;
        if S::CLAMPS_TIME && dice.clone().one_in(2) {
            tally.dips += 1;
            let behind = next.as_micros().saturating_sub(dip.as_micros() as u64);
            dipped.act(Instant::from_micros(behind), &mut dice)?;
        } else {
            dipped.act(next, &mut dice)?;
        }
        plain.same_as(&poked, Law::EarlyIsHarmless, "after early timeouts")?;
        plain.same_as(&dipped, Law::EarlyIsHarmless, "after time went backwards")?;
    }
    plain.settle(tally)
}

/// Law 4, first half: a second run brings the same.
fn check_same<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut runs = [
        Run::<S>::start(seed, step, Log::recording())?,
        Run::<S>::start(seed, step, Log::recording())?,
    ];
    for at in 0..STEPS {
        let mut dice = runs[0].begin(at);
        let next = runs[0].next_moment(&mut dice);
        for run in &mut runs {
            run.advance(next, tally)?;
            run.act(next, &mut dice.clone())?;
        }
        let [first, second] = &runs;
        first.same_as(second, Law::SameInSameOut, "in a second run")?;
    }
    runs[0].settle(tally)
}

/// Law 4, second half: a stream may be cut anywhere.
fn check_cuts<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut dice = Dice::of_step(seed, u64::MAX);
    let Some(bytes) = S::stream(&mut dice) else {
        return Ok(());
    };
    tally.streams += 1;
    let whole = converse::<S>(seed, step, &bytes, |rest| rest)?;
    let bytewise = converse::<S>(seed, step, &bytes, |_| 1)?;
    let random = converse::<S>(seed, step, &bytes, |rest| 1 + dice.index(rest.min(40)))?;
    for (how, cut) in [("byte by byte", bytewise), ("at random", random)] {
        if whole.log.essence() != cut.log.essence() {
            let what = format!(
                "cut {how}, the stream brings {:?}, but whole {:?}",
                cut.log.essence(),
                whole.log.essence()
            );
            return Err(whole.broken(Law::SameInSameOut, what));
        }
    }
    Ok(())
}

/// Feeds a whole conversation as a driver would: what is not taken is offered
/// again after a resume.
fn converse<'a, S: Subject>(
    seed: u64,
    step: &'a Cell<u64>,
    mut rest: &[u8],
    mut cut: impl FnMut(usize) -> usize,
) -> Result<Run<'a, S>, Broken> {
    let mut run = Run::<S>::start(seed, step, Log::recording())?;
    let mut tally = Tally::default();
    let mut held = 0;
    let mut stalls = 0;
    while !rest.is_empty() && stalls < STALL_TIMEOUTS_MAX {
        if held == 0 {
            held = cut(rest.len()).clamp(1, rest.len());
        }
        let resumes = run.log.resumes();
        let taken = run.subject.feed(run.now, &rest[..held], &mut run.log);
        assert!(taken <= held, "{taken} of {held} bytes were taken");
        run.drain()?;
        rest = &rest[taken..];
        held -= taken;
        while held > 0 && run.log.resumes() == resumes && stalls < STALL_TIMEOUTS_MAX {
            stalls += 1;
            let next = run.deadline().unwrap_or(run.now);
            run.advance(next.max(run.now), &mut tally)?;
        }
    }
    if rest.is_empty() {
        run.subject.feed_end(run.now, &mut run.log);
        run.drain()?;
    }
    Ok(run)
}

/// Law 5: garbage among the inputs.
fn check_noise<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut run = Run::<S>::start(seed, step, Log::counting())?;
    for at in 0..STEPS {
        let mut dice = run.begin(at);
        let next = run.next_moment(&mut dice);
        run.advance(next, tally)?;
        run.act(next, &mut dice)?;
        for _ in 0..dice.below(4) {
            tally.noises += 1;
            let told = run.subject.noise(next, &mut dice, &mut run.log);
            told.map_err(|error| run.broken(Law::NoiseNeverSurfaces, error))?;
            run.drain()?;
        }
    }
    run.settle(tally)
}

/// Law 5: misuse is refused and leaves the state unchanged.
fn check_misuse<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut plain = Run::<S>::start(seed, step, Log::recording())?;
    let mut misused = Run::<S>::start(seed, step, Log::recording())?;
    for at in 0..STEPS {
        let mut dice = plain.begin(at);
        let next = plain.next_moment(&mut dice);
        plain.advance(next, tally)?;
        misused.advance(next, tally)?;
        let done = misused.subject.misuse(next, &mut dice.fork());
        match done.map_err(|what| misused.broken(Law::NoiseNeverSurfaces, what))? {
            Misuse::None => {}
            Misuse::Refused => tally.misuses += 1,
        }
        misused.drain()?;
        plain.act(next, &mut dice.clone())?;
        misused.act(next, &mut dice)?;
        plain.same_as(&misused, Law::NoiseNeverSurfaces, "after a refused misuse")?;
    }
    plain.settle(tally)
}

/// Law 6: more than fits.
fn check_bounded<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut run = Run::<S>::start(seed, step, Log::counting())?;
    for at in 0..FLOOD_STEPS {
        let mut dice = run.begin(at);
        run.subject.flood(run.now, &mut dice, &mut run.log);
        run.census(tally)?;
        if dice.one_in(4) {
            run.drain()?;
        }
        if dice.one_in(100) {
            let next = run.next_moment(&mut dice);
            run.advance(next, tally)?;
        }
    }
    run.settle(tally)?;
    run.census(tally)
}

/// Law 7: warm, then counted.
fn check_still<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut run = Run::<S>::start(seed, step, Log::counting())?;
    let mut quiet = Tally::default();
    for at in 0..2 * S::STEADY_OPERATIONS {
        let mut dice = run.begin(at);
        let next = run.now + dice.span(Duration::ZERO..Duration::from_millis(500));
        let ((worked, done), counts) = counting::count(|| {
            let advanced = run.advance(next, &mut quiet);
            let worked = run.subject.steady(next, &mut dice);
            (worked, advanced.and_then(|()| run.drain()))
        });
        done?;
        if !worked {
            return Ok(());
        }
        if at == 0 {
            assert!(counting::installed(), "law 7 needs the counting allocator");
        }
        if at >= S::STEADY_OPERATIONS {
            tally.steady += 1;
            if counts != counting::Counts::NONE {
                return Err(run.broken(Law::Still, format!("a warm operation made {counts:?}")));
            }
        }
    }
    Ok(())
}

/// Law 8: storage comes back late, and sometimes fails.
fn check_durable<S: Subject>(seed: u64, step: &Cell<u64>, tally: &mut Tally) -> Result<(), Broken> {
    let mut run = Run::<S>::start(seed, step, Log::counting())?;
    for at in 0..4 * STEPS {
        let mut dice = run.begin(at);
        let next = run.next_moment(&mut dice);
        run.advance(next, tally)?;
        run.act(next, &mut dice)?;
        if let Some(what) = run.log.broken_promise() {
            return Err(run.broken(Law::Durable, what.to_owned()));
        }
    }
    run.settle(tally)
}

/// One copy of a subject under its inputs.
struct Run<'a, S> {
    subject: S,
    log: Log,
    now: Instant,
    seed: u64,
    step: &'a Cell<u64>,
}

impl<'a, S: Subject> Run<'a, S> {
    fn start(seed: u64, step: &'a Cell<u64>, log: Log) -> Result<Self, Broken> {
        step.set(0);
        let mut run = Self {
            subject: S::new(seed),
            log,
            now: Instant::from_micros(1_000_000),
            seed,
            step,
        };
        run.drain()?;
        Ok(run)
    }

    fn begin(&self, step: u64) -> Dice {
        self.step.set(step);
        Dice::of_step(self.seed, step)
    }

    /// When the next input comes: often at once, sometimes at the deadline.
    fn next_moment(&self, dice: &mut Dice) -> Instant {
        let delay_max = match dice.below(32) {
            0..=26 => return self.now,
            27 => Duration::from_millis(1),
            28 => Duration::from_secs(1),
            29 => Duration::from_secs(120),
            _ => return self.deadline().unwrap_or(self.now).max(self.now),
        };
        self.now + dice.span(Duration::ZERO..delay_max)
    }

    /// The last moment there is never comes.
    fn deadline(&self) -> Option<Instant> {
        self.subject.deadline().filter(|&at| at != Instant::MAX)
    }

    fn act(&mut self, now: Instant, dice: &mut Dice) -> Result<(), Broken> {
        self.log.set_now(self.now);
        self.subject.act(now, dice, &mut self.log);
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Broken> {
        self.log.set_now(self.now);
        for _ in 0..S::STEPS_MAX {
            match self.subject.step(&mut self.log) {
                Step::Idle => return Ok(()),
                Step::Output => self.log.count_output(),
            }
        }
        let what = format!("{} poll steps did not come to an end", S::STEPS_MAX);
        Err(self.broken(Law::DrainEnds, what))
    }

    /// Time goes on; every deadline on the way is kept.
    fn advance(&mut self, to: Instant, tally: &mut Tally) -> Result<(), Broken> {
        let mut at_one_moment = 0;
        while let Some(deadline) = self.deadline()
            && deadline <= to
        {
            at_one_moment = if deadline > self.now {
                0
            } else {
                at_one_moment + 1
            };
            self.now = self.now.max(deadline);
            let outputs = self.log.outputs();
            self.subject.timeout(self.now);
            self.drain()?;
            tally.timeouts += 1;
            let silent = self.log.outputs() == outputs;
            let stuck = self.deadline().is_some_and(|next| next <= self.now);
            if stuck && (silent || at_one_moment > TIMEOUTS_PER_MOMENT_MAX) {
                let what = format!("at {:?} the next deadline is not later", self.now);
                return Err(self.broken(Law::TimeMoves, what));
            }
        }
        self.now = self.now.max(to);
        Ok(())
    }

    /// Times out at some moments before the deadline and before `next`.
    fn poke(&mut self, next: Instant, dice: &mut Dice, tally: &mut Tally) -> Result<(), Broken> {
        let mut early = self.now;
        for _ in 0..dice.below(3) {
            let end = self
                .subject
                .deadline()
                .map_or(next, |deadline| deadline.min(next));
            if self
                .subject
                .deadline()
                .is_some_and(|deadline| deadline <= early)
            {
                return Ok(());
            }
            let outputs = self.log.outputs();
            self.subject.timeout(early);
            self.drain()?;
            tally.pokes += 1;
            if self.log.outputs() != outputs {
                let what = format!("a timeout at {early:?} brought output before {end:?}");
                return Err(self.broken(Law::EarlyIsHarmless, what));
            }
            let ahead = end.saturating_since(early).as_micros() as u64;
            early = early + Duration::from_micros(dice.below(ahead));
        }
        Ok(())
    }

    fn census(&self, tally: &mut Tally) -> Result<(), Broken> {
        let census = self.subject.census();
        tally.tables = tally.tables.max(census.len() as u64);
        match census.iter().find(|census| census.used > census.limit) {
            Some(over) => Err(self.broken(Law::Bounded, format!("{over:?}"))),
            None => Ok(()),
        }
    }

    fn same_as(&self, other: &Self, law: Law, when: &str) -> Result<(), Broken> {
        match first_difference(&self.log, &other.log) {
            Some(what) => Err(self.broken(law, format!("{when} {what}"))),
            None => Ok(()),
        }
    }

    /// The last deadlines pass, and the run is added to the tally.
    fn settle(&mut self, tally: &mut Tally) -> Result<(), Broken> {
        for _ in 0..4 {
            let next = self.deadline().unwrap_or(self.now);
            self.advance(next.max(self.now), tally)?;
        }
        tally.outputs += self.log.outputs();
        tally.promises += self.log.promises();
        Ok(())
    }

    fn broken(&self, law: Law, what: String) -> Broken {
        Broken {
            law,
            subject: S::NAME,
            seed: self.seed,
            step: self.step.get(),
            what,
        }
    }
}

/// Panics that end in a report are not told twice.
fn quietly<R>(work: impl FnOnce() -> R) -> R {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = work();
    QUIET.set(before);
    result
}

fn panic_message(panic: &(dyn core::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
