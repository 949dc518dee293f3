//! See `tautline_core::wire::fuzz::opening`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::wire::fuzz::opening as check;

fuzz_target!(|data: &[u8]| check(data));
