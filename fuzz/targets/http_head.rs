//! See `tautline_core::http::fuzz::head`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::http::fuzz::head as check;

fuzz_target!(|data: &[u8]| check(data));
