//! See `tautline_core::notify::fuzz::router`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::notify::fuzz::router as check;

fuzz_target!(|data: &[u8]| check(data));
