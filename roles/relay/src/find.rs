//! Whom a request is about: tags and branches.
//!
//! The tag of whoever made an offer or answer is its `from-tag`, whichever way the call goes. A proxy
//! that forks tells its branches by `via-branch`, if it tells them at all.

use media::SessionId;
use ng::Request;

use crate::call::Call;
use crate::dialog::Dialog;

impl Call {
    /// The dialog that an offer is made in, and the side that makes it. None: it begins one.
    pub(crate) fn offered(&mut self, request: &Request) -> Option<(&mut Dialog, usize)> {
        let from = request.from_tag.as_deref()?;
        let place = self.live().find_map(|(place, dialog)| {
            let side = match request.to_tag.as_deref() {
                Some(to) => dialog.side_between(from, to)?,
                None => dialog.first_of(from, request.via_branch.as_deref())?,
            };
            Some((place, side))
        });
        let (place, side) = place?;
        Some((&mut self.dialogs[place], side))
    }

    /// The dialog of whose last offer this is the answer.
    pub(crate) fn answered(&mut self, request: &Request) -> Option<&mut Dialog> {
        let from = request.from_tag.as_deref();
        let to = request.to_tag.as_deref();
        let branch = request.via_branch.as_deref();
        let rank = |dialog: &Dialog| {
            let [offerer, answerer] = dialog.offerer_and_answerer();
            if offerer.tag.as_deref() != from {
                return None;
            }
            let same = answerer.tag.as_deref() == to;
            let branched = branch.is_some() && dialog.branch.as_deref() == branch;
            let other = branch.is_some() && dialog.branch.is_some() && !branched;
            Some(match (same, branched, answerer.tag.is_none()) {
                (true, _, _) => 0,
                (_, true, true) => 1,
                (_, _, true) if !other => 2,
                (_, _, true) => 3,
                // Several phones have answered one offer.
                (_, true, false) => 4,
                _ if !other => 5,
                _ => return None,
            })
        };
        let ranked = self.live().filter_map(|(p, d)| Some((rank(d)?, p)));
        let (_, place) = ranked.min()?;
        Some(&mut self.dialogs[place])
    }

    /// The dialogs that are to be deleted.
    pub(crate) fn doomed(&self, request: &Request) -> Vec<SessionId> {
        let from = request.from_tag.as_deref();
        let has_tag = |dialog: &Dialog| {
            let mut tags = dialog.parties.iter().map(|party| party.tag.as_deref());
            from.is_none() || tags.any(|tag| tag == from)
        };
        let branch = request.via_branch.as_deref();
        let all = || self.live().map(|(_, d)| d).filter(|d| has_tag(d));
        let branched = all().filter(|d| branch.is_some() && d.branch.as_deref() == branch);
        let branched: Vec<_> = branched.map(|d| d.session).collect();
        match branched.is_empty() {
            // The branch of a BYE is another than that of the INVITE.
            true => all().map(|dialog| dialog.session).collect(),
            false => branched,
        }
    }

    fn live(&self) -> impl Iterator<Item = (usize, &Dialog)> {
        let all = self.dialogs.iter().enumerate();
        all.filter(|(_, dialog)| dialog.is_live())
    }
}

impl Dialog {
    /// The side of `from`, if the other one is `to`, or has not told its tag yet.
    fn side_between(&self, from: &str, to: &str) -> Option<usize> {
        let sides = [0, 1].into_iter();
        let is = |side: usize, tag: &str| self.parties[side].tag.as_deref() == Some(tag);
        let open = |side: usize| self.parties[side].tag.is_none();
        sides
            .clone()
            .find(|&side| is(side, from) && is(1 - side, to))
            .or_else(|| sides.clone().find(|&side| is(side, from) && open(1 - side)))
    }

    /// The caller's side, if it is `from` and this is its branch.
    fn first_of(&self, from: &str, branch: Option<&str>) -> Option<usize> {
        let same = self.parties[0].tag.as_deref() == Some(from);
        (same && self.branch.as_deref() == branch).then_some(0)
    }
}
