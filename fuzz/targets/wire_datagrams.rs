//! See `tautline_core::wire::fuzz::datagrams`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::wire::fuzz::datagrams as check;

fuzz_target!(|data: &[u8]| check(data));
