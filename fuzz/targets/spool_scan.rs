//! See `tautline_core::spool::fuzz::scan`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::spool::fuzz::scan as check;

fuzz_target!(|data: &[u8]| check(data));
