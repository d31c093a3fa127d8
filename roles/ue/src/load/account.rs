//! Whose phones the generator plays.

use std::fmt;

/// Users with their passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum Accounts {
    /// One user.
    One {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// Users `u0`, `u1`, … with passwords `pw0`, `pw1`, ….
    Numbered {
        /// What stands before the number in the user name.
        user_prefix: String,
        /// What stands before the number in the password.
        password_prefix: String,
        /// The first number.
        first: u32,
        /// How many users there are, at least 1.
        count: u32,
    },
}

impl Accounts {
    /// `count` users `u<N>` with passwords `pw<N>`, N counting from `first`.
    #[must_use]
    pub fn numbered(first: u32, count: u32) -> Self {
        Self::Numbered {
            user_prefix: "u".to_owned(),
            password_prefix: "pw".to_owned(),
            first,
            count,
        }
    }

    /// How many users there are, at least 1.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Self::One { .. } => 1,
            Self::Numbered { count, .. } => (*count).max(1),
        }
    }

    /// The first `most` users.
    #[must_use]
    pub fn first(&self, most: u64) -> Self {
        let mut some = self.clone();
        if let Self::Numbered { count, .. } = &mut some {
            *count = u32::try_from(most).map_or(*count, |most| most.min(*count));
        }
        some
    }

    /// The name of the user at `index`, which wraps around.
    #[must_use]
    pub fn user(&self, index: u32) -> Name<'_> {
        match self {
            Self::One { user, .. } => Name(user, None),
            Self::Numbered { user_prefix, .. } => Name(user_prefix, Some(self.number(index))),
        }
    }

    /// The password of the user at `index`, which wraps around.
    #[must_use]
    pub fn password(&self, index: u32) -> Name<'_> {
        match self {
            Self::One { password, .. } => Name(password, None),
            Self::Numbered {
                password_prefix, ..
            } => Name(password_prefix, Some(self.number(index))),
        }
    }

    fn number(&self, index: u32) -> u32 {
        match self {
            Self::One { .. } => 0,
            Self::Numbered { first, .. } => first.saturating_add(index % self.count()),
        }
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users from {}", self.count(), self.user(0))
    }
}

/// A prefix and, for numbered accounts, its number.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a>(&'a str, Option<u32>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        self.1.map_or(Ok(()), |number| write!(f, "{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_users_wrap_around() {
        let accounts = Accounts::numbered(10, 3);
        let users: Vec<String> = (0..4).map(|i| accounts.user(i).to_string()).collect();
        assert_eq!(users, ["u10", "u11", "u12", "u10"]);
        assert_eq!(accounts.password(1).to_string(), "pw11");
        assert_eq!(accounts.first(2).count(), 2);
        assert_eq!(accounts.first(9).count(), 3);
    }

    #[test]
    fn a_password_is_not_printed() {
        let one = Accounts::One {
            user: "1001".into(),
            password: "secret".into(),
        };
        assert!(!format!("{one:?}").contains("secret"));
        assert_eq!(one.user(7).to_string(), "1001");
    }
}
