//! Undoing one transaction and everything after it: whether their files can be put back one after the other, why not
//! where they cannot, and what all of them together did to packages.

use std::collections::BTreeMap;

use backstep_core::{Digest, Method, PackageId, Plan, PlanAction, PlanItem, TransactionId};
use backstep_wire::planner::{Question, Revert};

/// What is undone, the newest first. Never empty.
pub(crate) struct Series<'q> {
    newest_first: Vec<&'q Revert>,
    oldest: &'q Revert,
}

impl<'q> Series<'q> {
    /// The series of a question; none when it has nothing to undo.
    pub(crate) fn of(question: &'q Question) -> Option<Self> {
        let oldest = question.revert.as_ref()?;
        Some(Self { newest_first: question.later.iter().chain([oldest]).collect(), oldest })
    }

    /// Why files cannot be put back, in words; none when they can: the system is as the newest left it, and each found
    /// what the one before it left.
    pub(crate) fn obstacle(&self, world: Digest) -> Option<String> {
        let mut found = Some(world);
        for (place, revert) in self.newest_first.iter().enumerate() {
            let short = revert.plan.transaction.short();
            match (revert.world_after, place) {
                (None, _) => return Some(format!("no undo material is left of {short}")),
                (left, 0) if left != found => return Some(format!("the system changed after {short}")),
                (left, _) if left != found => {
                    return Some(format!("the system was changed by others after {short}, before what came next"));
                }
                (Some(_), _) => found = Some(revert.plan.world),
            }
        }
        None
    }

    /// Those that are undone before the oldest, the newest first.
    pub(crate) fn later(&self) -> Vec<TransactionId> {
        let count = self.newest_first.len().saturating_sub(1);
        self.newest_first.iter().take(count).map(|revert| revert.plan.transaction).collect()
    }

    /// All as if they had been one: each package from what it was before the first to what it was after the last. What
    /// is the same before and after has no row.
    pub(crate) fn together(&self) -> Revert {
        if self.newest_first.len() == 1 { self.oldest.clone() } else { self.merged() }
    }

    fn merged(&self) -> Revert {
        let mut items: BTreeMap<PackageId, PlanItem> = BTreeMap::new();
        let oldest_first = self.newest_first.iter().rev();
        for item in oldest_first.flat_map(|revert| &revert.plan.items).filter(|item| !is_mark(item)) {
            match items.get_mut(&item.package) {
                Some(known) => go_on(known, item),
                None => drop(items.insert(item.package.clone(), item.clone())),
            }
        }
        let items = items.into_values().filter(|item| item.from != item.to || item.action == PlanAction::Reinstall).collect();
        // Set one after the other: the oldest has the last word.
        let marks = self.newest_first.iter().flat_map(|revert| revert.plan.marks.clone()).collect();
        let plan = Plan { items, marks, method: Method::Packages, ..self.oldest.plan.clone() };
        Revert { plan, world_after: None }
    }

    /// The packages whose holds stay as they are when packages are changed.
    pub(crate) fn holds(&self) -> Vec<String> {
        let items = self.newest_first.iter().flat_map(|revert| &revert.plan.items);
        items.filter(|item| is_mark(item)).map(|item| item.package.name.to_string()).collect()
    }
}

const fn is_mark(item: &PlanItem) -> bool {
    matches!(item.action, PlanAction::Hold | PlanAction::Unhold)
}

/// What a later change made of an earlier one.
fn go_on(known: &mut PlanItem, later: &PlanItem) {
    known.to.clone_from(&later.to);
    known.auto_after = later.auto_after;
    known.installed_delta = known.installed_delta.saturating_add(later.installed_delta);
    if known.leftovers {
        // The version of leftovers is none that was installed.
        known.from = None;
    }
    known.action = match (&known.from, &known.to) {
        (None, _) => PlanAction::Install,
        (Some(_), None) if later.action == PlanAction::Purge => PlanAction::Purge,
        (Some(_), None) => PlanAction::Remove,
        // Whichever way: what counts is that the version is another one, and rows without that go.
        (Some(_), Some(_)) => PlanAction::Upgrade,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::{Kind, Options, Reason, Request, UndoQuality};

    fn id(digit: u8) -> TransactionId {
        format!("01936b2e-7c1a-7d3e-9f10-00000000000{digit}").parse().expect("id")
    }

    fn item(package: &str, action: PlanAction, from: Option<&str>, to: Option<&str>) -> PlanItem {
        let version = |text: Option<&str>| text.map(|text| text.parse().expect("version"));
        PlanItem {
            package: package.parse().expect("package"),
            action,
            reason: Reason::Requested,
            from: version(from),
            to: version(to),
            archive: None,
            installed_delta: if from.is_some() { -7 } else { 7 },
            auto_before: false,
            auto_after: true,
            essential: false,
            leftovers: false,
            undo: UndoQuality::Exact,
        }
    }

    /// A transaction that found one world and left another.
    fn revert(digit: u8, (world, after): (u8, Option<u8>), items: Vec<PlanItem>) -> Revert {
        let plan = Plan {
            transaction: id(digit),
            kind: Kind::Install,
            request: Digest([0; 32]),
            world: Digest([world; 32]),
            method: Method::Packages,
            options: Options::default(),
            items,
            marks: vec![("dep:all".parse().expect("package"), digit == 1)],
            restores: Vec::new(),
            download_bytes: 0,
            warnings: Vec::new(),
        };
        Revert { plan, world_after: after.map(|after| Digest([after; 32])) }
    }

    fn question(mut newest_first: Vec<Revert>) -> Question {
        let revert = newest_first.pop();
        let (kind, description, options) = (Kind::Rollback, String::new(), Options::default());
        let (items, archives) = (Vec::new(), Vec::new());
        let request =
            Request { kind, description, tags: Default::default(), items, archives, reverts: Some(id(1)), retries: None, options };
        Question {
            transaction: id(9),
            request,
            request_digest: Digest([0; 32]),
            archives: Vec::new(),
            leave_out: Vec::new(),
            revert,
            later: newest_first,
        }
    }

    #[test]
    fn files_go_back_only_along_an_unbroken_line() {
        let third = revert(3, (2, Some(3)), Vec::new());
        let second = revert(2, (1, Some(2)), Vec::new());
        let first = revert(1, (0, Some(1)), Vec::new());
        let told = |reverts: [&Revert; 3]| {
            let question = question(reverts.map(Clone::clone).into());
            let series = Series::of(&question).expect("a series");
            assert_eq!(series.later(), [id(3), id(2)]);
            series.obstacle(Digest([3; 32]))
        };
        assert_eq!(told([&third, &second, &first]), None);
        let elsewhere = Revert { world_after: Some(Digest([8; 32])), ..third.clone() };
        let given_up = Revert { world_after: None, ..second.clone() };
        let broken = revert(1, (0, Some(7)), Vec::new());
        for (reverts, text) in [
            ([&elsewhere, &second, &first], "changed after 000000000003"),
            ([&third, &given_up, &first], "no undo material is left of 000000000002"),
            ([&third, &second, &broken], "by others after 000000000001"),
        ] {
            assert!(told(reverts).is_some_and(|said| said.contains(text)), "{:?}", told(reverts));
        }
        assert!(Series::of(&question(Vec::new())).is_none());
    }

    #[test]
    fn together_they_are_one_change_from_the_first_to_the_last() {
        use PlanAction::{Hold, Install, Purge, Remove, Upgrade};
        let first = revert(1, (0, Some(1)), vec![item("aa:all", Install, None, Some("1")), item("bb:all", Upgrade, Some("1"), Some("2"))]);
        let second = revert(
            2,
            (1, Some(2)),
            vec![
                item("aa:all", Remove, Some("1"), None),
                item("bb:all", Upgrade, Some("2"), Some("3")),
                item("cc:all", Purge, Some("5"), None),
                item("dd:all", Hold, Some("1"), Some("1")),
            ],
        );
        let question = question(vec![second, first]);
        let series = Series::of(&question).expect("a series");
        let whole = series.together();
        let rows: Vec<String> = whole
            .plan
            .items
            .iter()
            .map(|item| {
                format!(
                    "{} {} {:?} {:?}",
                    item.action,
                    item.package.name,
                    item.from.as_ref().map(|v| v.as_str()),
                    item.to.as_ref().map(|v| v.as_str())
                )
            })
            .collect();
        assert_eq!(rows, ["upgrade bb Some(\"1\") Some(\"3\")", "purge cc Some(\"5\") None"]);
        assert_eq!(whole.plan.marks.iter().map(|(_, auto)| *auto).collect::<Vec<_>>(), [false, true], "the oldest comes last");
        assert_eq!((series.holds(), whole.plan.transaction), (vec!["dd".to_owned()], id(1)));
    }
}
