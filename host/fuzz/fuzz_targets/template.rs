#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hogsend::fuzz::read("template", bytes));
