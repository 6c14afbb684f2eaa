//! Which transactions have an object: those that have not ended, and a bounded number of those asked for lately.

use std::collections::VecDeque;
use std::sync::Arc;

use backstep_bus::names::{MANAGER_PATH, transaction_path};
use backstep_core::{ErrorCode, Failure, TransactionId};
use tokio::sync::Mutex;

use super::manager::ManagerObject;
use super::record::RecordObject;
use super::transaction::TransactionObject;
use crate::service::Service;

/// The exported transactions, oldest use first.
#[derive(Debug, Default)]
pub struct Registry {
    exported: Mutex<VecDeque<TransactionId>>,
}

impl Registry {
    /// Puts the manager, and every transaction that has not ended, on the bus.
    pub async fn serve(self: &Arc<Self>, service: &Arc<Service>) -> Result<(), Failure> {
        let server = service.connection.object_server();
        let manager = ManagerObject { service: Arc::clone(service), registry: Arc::clone(self) };
        server.at(MANAGER_PATH, zbus::fdo::ObjectManager).await.map_err(|error| failed(&error))?;
        server.at(MANAGER_PATH, manager).await.map_err(|error| failed(&error))?;
        server.at(MANAGER_PATH, RecordObject { service: Arc::clone(service) }).await.map_err(|error| failed(&error))?;
        for summary in service.read(|manager| manager.ledger().unfinished())? {
            self.export(service, summary.id).await?;
        }
        Ok(())
    }

    /// Gives a transaction its object, if it has none, and takes the one that was used least away when there are
    /// too many.
    pub async fn export(&self, service: &Arc<Service>, id: TransactionId) -> Result<(), Failure> {
        let mut exported = self.exported.lock().await;
        if let Some(place) = exported.iter().position(|other| *other == id) {
            exported.remove(place);
            exported.push_back(id);
            return Ok(());
        }
        let summary = service.read(|manager| manager.ledger().summary(id))?;
        let Some(summary) = summary else {
            return Err(Failure::new(ErrorCode::TransactionUnknown, format!("no transaction has the id {id}")));
        };
        let object = TransactionObject { service: Arc::clone(service), id, owner: summary.actor.uid };
        service.connection.object_server().at(transaction_path(id), object).await.map_err(|error| failed(&error))?;
        exported.push_back(id);
        Self::shrink(&mut exported, service).await
    }

    async fn shrink(exported: &mut VecDeque<TransactionId>, service: &Arc<Service>) -> Result<(), Failure> {
        if exported.len() <= service.limits.objects as usize {
            return Ok(());
        }
        let ended = |id: &TransactionId| {
            service.read(|manager| manager.ledger().summary(*id)).ok().flatten().is_none_or(|summary| summary.status.state.is_final())
        };
        if let Some(place) = exported.iter().position(ended)
            && let Some(id) = exported.remove(place)
        {
            let server = service.connection.object_server();
            server.remove::<TransactionObject, _>(transaction_path(id)).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

fn failed(error: &zbus::Error) -> Failure {
    Failure::new(ErrorCode::Internal, format!("cannot serve on the bus: {error}"))
}
