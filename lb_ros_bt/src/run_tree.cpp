// Run a tree of these nodes without nav2, to try it: ros2 run lb_ros_bt run_tree TREE.xml
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "behaviortree_cpp/bt_factory.h"
#include "rclcpp/rclcpp.hpp"

#include "lb_ros_bt/predicate_condition.hpp"
#include "lb_ros_bt/wait_for_predicate.hpp"

namespace
{
constexpr std::chrono::milliseconds kPeriod{50};

/// The output port `reason` of a node; empty where it has none, or writes it nowhere.
std::string reason_of(const BT::TreeNode & node)
{
  const auto & ports = node.config().output_ports;
  const auto found = ports.find("reason");
  if (found == ports.end()) {
    return "";
  }
  const auto key = BT::TreeNode::getRemappedKey("reason", found->second);
  std::string reason;
  return key && node.config().blackboard->get(std::string(*key), reason) ? reason : "";
}

/// Print every change of the status or the reason of a node, while the result is kept.
std::vector<BT::TreeNode::StatusChangeSubscriber> print_changes(BT::Tree & tree)
{
  std::vector<BT::TreeNode::StatusChangeSubscriber> kept;
  tree.applyVisitor(
    [&kept](BT::TreeNode * node) {
      kept.push_back(node->subscribeToStatusChange(
        [last = std::string()](
          BT::TimePoint, const BT::TreeNode & changed, BT::NodeStatus,
          BT::NodeStatus status) mutable {
          const auto line =
          changed.name() + ": " + BT::toStr(status) + "  " + reason_of(changed);
          // A child of a loop is reset to IDLE after every tick.
          if (status != BT::NodeStatus::IDLE && line != last) {
            std::printf("%s\n", line.c_str());
            std::fflush(stdout);
            last = line;
          }
        }));
    });
  return kept;
}

int run(const std::string & path)
{
  const auto node = rclcpp::Node::make_shared("run_tree");
  BT::BehaviorTreeFactory factory;
  factory.registerNodeType<lb_ros_bt::PredicateCondition>("PredicateCondition");
  factory.registerNodeType<lb_ros_bt::WaitForPredicate>("WaitForPredicate");
  const auto blackboard = BT::Blackboard::create();
  blackboard->set("node", node);
  auto tree = factory.createTreeFromFile(path, blackboard);
  const auto printing = print_changes(tree);
  auto status = BT::NodeStatus::RUNNING;
  while (rclcpp::ok() && status == BT::NodeStatus::RUNNING) {
    status = tree.tickExactlyOnce();
    tree.sleep(kPeriod);
  }
  tree.haltTree();
  std::printf("%s: %s\n", path.c_str(), BT::toStr(status).c_str());
  return status == BT::NodeStatus::SUCCESS ? 0 : 1;
}
}  // namespace

int main(int argc, char ** argv)
{
  const auto words = rclcpp::init_and_remove_ros_arguments(argc, argv);
  if (words.size() != 2) {
    std::fprintf(stderr, "usage: run_tree TREE.xml [--ros-args ...]\n");
    return 2;
  }
  int code = 2;
  try {
    code = run(words[1]);
  } catch (const std::exception & error) {
    std::fprintf(stderr, "run_tree: %s: %s\n", words[1].c_str(), error.what());
  }
  rclcpp::shutdown();
  return code;
}
