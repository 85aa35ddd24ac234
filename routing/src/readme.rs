//! The README of the repository as documentation, so that its program is compiled with the doc tests.

#![doc = include_str!("../../README.md")]
