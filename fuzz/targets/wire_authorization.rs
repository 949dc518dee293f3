//! See `tautline_core::wire::fuzz::authorization`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::wire::fuzz::authorization as check;

fuzz_target!(|data: &[u8]| check(data));
