//! Test phone and load generator.
