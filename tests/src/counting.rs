//! An allocator that counts, on the thread that asks for it.
//!
//! A test binary installs it and asks [`count`] what a piece of code did:
//!
//! ```
//! use tautline_tests::counting::{self, Counting};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! fn main() {
//!     let (boxed, counts) = counting::count(|| Box::new(1));
//!     assert_eq!(counts.allocations, 1);
//!     drop(boxed);
//! }
//! ```

use core::cell::Cell;
use core::hint::black_box;
use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which counts while [`count`] runs on the thread.
pub struct Counting;

/// What the allocator was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks that were allocated.
    pub allocations: u64,
    /// Blocks that were resized.
    pub reallocations: u64,
    /// Blocks that were freed.
    pub deallocations: u64,
    /// Bytes that are held more than before; below 0, fewer.
    pub bytes: i64,
}

impl Counts {
    /// Nothing was asked for.
    pub const NONE: Self = Self {
        allocations: 0,
        reallocations: 0,
        deallocations: 0,
        bytes: 0,
    };
}

impl Counts {
    const fn allocated(&mut self, layout: Layout) {
        self.allocations += 1;
        self.bytes += layout.size() as i64;
    }
}

/// Runs `work` and counts what it asks the allocator for on this thread.
///
/// Without [`Counting`] as global allocator every count is 0: see
/// [`installed`].
pub fn count<R>(work: impl FnOnce() -> R) -> (R, Counts) {
    let armed = Armed::set(true);
    let before = COUNTS.get();
    let result = work();
    let after = COUNTS.get();
    drop(armed);
    let counts = Counts {
        allocations: after.allocations - before.allocations,
        reallocations: after.reallocations - before.reallocations,
        deallocations: after.deallocations - before.deallocations,
        bytes: after.bytes - before.bytes,
    };
    (result, counts)
}

/// Runs `work` inside a [`count`] without counting it: a harness's own work.
pub fn paused<R>(work: impl FnOnce() -> R) -> R {
    let _disarmed = Armed::set(false);
    work()
}

/// Whether [`Counting`] is the global allocator of this binary.
pub fn installed() -> bool {
    let (_, counts) = count(|| drop(black_box(Box::new(black_box(1_u8)))));
    counts.allocations > 0
}

thread_local! {
    // Const and without a destructor: reading them never allocates.
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static COUNTS: Cell<Counts> = const { Cell::new(Counts::NONE) };
}

/// Restores the flag when it goes, also while a panic unwinds.
struct Armed {
    before: bool,
}

impl Armed {
    fn set(armed: bool) -> Self {
        Self {
            before: ARMED.replace(armed),
        }
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        ARMED.set(self.before);
    }
}

fn note(change: impl FnOnce(&mut Counts)) {
    // A thread that is being torn down has no flag any more, and no test.
    let armed = ARMED.try_with(Cell::get).unwrap_or(false);
    if armed {
        let mut counts = COUNTS.get();
        change(&mut counts);
        COUNTS.set(counts);
    }
}

// SAFETY: every call is handed to the system's allocator unchanged, so its
// guarantees are those of `System`. `note` touches two thread-local cells only:
// it neither allocates nor unwinds.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(|counts| counts.allocated(layout));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(|counts| counts.allocated(layout));
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(|counts| {
            counts.reallocations += 1;
            counts.bytes += size as i64 - layout.size() as i64;
        });
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(|counts| {
            counts.deallocations += 1;
            counts.bytes -= layout.size() as i64;
        });
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
