#include "lb_ros_bt/predicate_condition.hpp"

#include "behaviortree_cpp/exceptions.h"

namespace lb_ros_bt
{

PredicateCondition::PredicateCondition(const std::string & name, const BT::NodeConfig & config)
: BT::ConditionNode(name, config), client_(PredicateClient::of(*this)) {}

BT::PortsList PredicateCondition::providedPorts()
{
  return {
    BT::InputPort<std::string>("predicate", "name of the predicate"),
    BT::InputPort<std::string>("state", "TRUE", "state that it should have"),
    BT::InputPort<std::string>("unknown", "FAILURE", "status while UNKNOWN: FAILURE or RUNNING"),
    BT::InputPort<std::string>("namespace", "", "of the predicates node; that of this node"),
    BT::OutputPort<std::string>("reason", "why, in a few words"),
    BT::OutputPort<double>("probability", "fused probability, 0 to 1"),
  };
}

BT::NodeStatus PredicateCondition::tick()
{
  const auto predicate = getInput<std::string>("predicate");
  if (!predicate || predicate->empty()) {
    throw BT::RuntimeError(name(), ": port predicate: the name of a predicate is missing");
  }
  const auto wanted = state_from_text(getInput<std::string>("state").value());
  const auto unknown = unknown_from_text(getInput<std::string>("unknown").value());
  client_->update();
  const auto verdict = client_->condition(predicate.value(), wanted, unknown);
  setOutput("reason", verdict.reason);
  if (const auto found = client_->find(predicate.value())) {
    setOutput("probability", static_cast<double>(found->probability));
  }
  return verdict.status;
}

}  // namespace lb_ros_bt
