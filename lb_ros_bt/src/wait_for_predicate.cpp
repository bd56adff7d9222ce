#include "lb_ros_bt/wait_for_predicate.hpp"

#include "behaviortree_cpp/exceptions.h"

namespace lb_ros_bt
{

WaitForPredicate::WaitForPredicate(const std::string & name, const BT::NodeConfig & config)
: BT::StatefulActionNode(name, config), client_(PredicateClient::of(*this)) {}

BT::PortsList WaitForPredicate::providedPorts()
{
  return {
    BT::InputPort<std::string>("predicate", "name of the predicate"),
    BT::InputPort<std::string>("state", "TRUE", "state to wait for"),
    BT::InputPort<double>("timeout_s", 30.0, "seconds of the nodes' clock; 0: no limit"),
    BT::InputPort<bool>("new", false, "a state that is already there does not count"),
    BT::InputPort<double>("server_timeout_s", 5.0, "how long to wait for a node that answers"),
    BT::InputPort<std::string>("namespace", "", "of the predicates node; that of this node"),
    BT::OutputPort<std::string>("reason", "why, in a few words"),
    BT::OutputPort<double>("probability", "fused probability, 0 to 1"),
  };
}

BT::NodeStatus WaitForPredicate::onStart()
{
  started_ = std::chrono::steady_clock::now();
  wait_.reset();
  return report(advance());
}

BT::NodeStatus WaitForPredicate::onRunning()
{
  return report(advance());
}

void WaitForPredicate::onHalted()
{
  if (wait_) {
    client_->cancel(wait_);
    wait_.reset();
  }
}

Verdict WaitForPredicate::advance()
{
  client_->update();
  if (!client_->lost().empty()) {
    return {BT::NodeStatus::FAILURE, client_->lost()};
  }
  if (!wait_) {
    return begin();
  }
  const auto seen = client_->look(wait_);
  setOutput("probability", static_cast<double>(seen.probability));
  if (seen.result) {
    return outcome(*seen.result);
  }
  if (seen.is_rejected) {
    return {BT::NodeStatus::FAILURE, "the node did not accept the wait"};
  }
  if (seen.losses != client_->losses()) {
    // Another node goes on publishing, but nobody may be left that has this wait.
    return {BT::NodeStatus::FAILURE, "a node that publishes states stopped or died meanwhile"};
  }
  if (!seen.handle && is_late()) {
    return {BT::NodeStatus::FAILURE, "wait_for: no answer within server_timeout_s"};
  }
  return {BT::NodeStatus::RUNNING, "waiting"};
}

Verdict WaitForPredicate::begin()
{
  // What is new can only be decided once it is known what is there.
  if (client_->can_wait() && (client_->heard() || !getInput<bool>("new").value())) {
    wait_ = client_->send(goal());
    return {BT::NodeStatus::RUNNING, "waiting"};
  }
  if (is_late()) {
    return {BT::NodeStatus::FAILURE,
      "no node offers wait_for within server_timeout_s; is bringup running?"};
  }
  return {BT::NodeStatus::RUNNING, "waiting for a node that offers wait_for"};
}

Wait::Action::Goal WaitForPredicate::goal() const
{
  const auto predicate = getInput<std::string>("predicate");
  if (!predicate || predicate->empty()) {
    throw BT::RuntimeError(name(), ": port predicate: the name of a predicate is missing");
  }
  Wait::Action::Goal goal;
  goal.name = predicate.value();
  goal.state =
    static_cast<std::uint8_t>(state_from_text(getInput<std::string>("state").value()));
  goal.timeout_s = static_cast<float>(getInput<double>("timeout_s").value());
  const auto found = client_->find(goal.name);
  if (getInput<bool>("new").value() && found) {
    goal.since = rclcpp::Time(found->since_ns);
  }
  return goal;
}

bool WaitForPredicate::is_late() const
{
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - started_;
  return waited.count() > getInput<double>("server_timeout_s").value();
}

BT::NodeStatus WaitForPredicate::report(const Verdict & verdict)
{
  setOutput("reason", verdict.reason);
  if (verdict.status != BT::NodeStatus::RUNNING && wait_) {
    client_->cancel(wait_);  // it may still run at the node
    wait_.reset();
  }
  return verdict.status;
}

Verdict outcome(const Wait::Action::Result & result)
{
  if (result.code == Wait::Action::Result::REACHED) {
    return {BT::NodeStatus::SUCCESS, result.state.reason};
  }
  if (result.code == 0) {
    return {BT::NodeStatus::FAILURE, "the node that waited died; another has started"};
  }
  return {BT::NodeStatus::FAILURE, result.message};
}

}  // namespace lb_ros_bt
