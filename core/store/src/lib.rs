//! Users and bindings.
