//! Tests against real phones and tools.
