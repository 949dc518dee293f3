//! See `tautline_core::heartbeat::fuzz::learner`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::heartbeat::fuzz::learner as check;

fuzz_target!(|data: &[u8]| check(data));
